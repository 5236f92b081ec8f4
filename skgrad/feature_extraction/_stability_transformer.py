"""Log-odds on slightly changed copies of an input."""

from ._base import BaseModelTransformer
from ._stability import AUTO, Stability


class StabilityTransformer(BaseModelTransformer):
    r"""Log-odds of the predicted class, on an input and on slightly changed copies.

    A small change that leaves the class alone should leave the prediction alone. Near a
    decision boundary it does not, and an adversarial input is often confident and
    fragile at once. With k the class predicted for the input x, and p(x') the softmax
    of the logits of a changed copy x', the features are

    .. math:: \log \frac{p_k(x')}{1 - p_k(x')}

    for x' = x first, and then for each change.

    Parameters
    ----------
    model : torch.nn.Module or fitted skorch net
        A classifier that returns logits (n_samples, n_classes). It is never changed.
    changes : str, callable, tuple of (str, callable) or list of these, default="auto"
        What is changed. "auto" chooses by the shape of the inputs: of images of 16 x 16
        pixels or more "noise" and "flip" for those in colour (3 or 4 channels), "noise"
        and "blur" for others; "mask" for whole numbers that no embedding of the model
        gets, which are taken for tokens; and "noise" for other inputs. By name:

        - "noise": one pattern of Gaussian noise, the same for all inputs; of token ids
          at the output of the embedding that gets them;
        - "grey": values rounded to ``n_levels``;
        - "shift": images moved down and to the right by ``n_pixels``, with their edges
          repeated;
        - "blur": 3 x 3 pixels averaged, with the weights 1, 2, 1 down and across;
        - "flip": images mirrored, left to right, which changes the class of digits and
          of text;
        - "mask": a share of the tokens replaced by ``token``;
        - "drop": a share of the tokens taken out of the ``attention_mask``.

        A function takes a tensor (n_samples, \*input_shape), of several inputs a
        dictionary of them, and returns the like; each sample by itself and each time
        the same. A pair ``(name, function)`` names it in another way than its
        ``__name__``.
    noise_scale : float, default=0.1
        Standard deviation of the noise, in those of the inputs: of each column of rows,
        and of each channel, the first axis, of other inputs.
    n_levels : int, default=16
        Number of levels from the lowest to the highest value seen in `fit`.
    n_pixels : int, default=1
        How far "shift" moves an image.
    token : int, default=0
        What replaces a token, such as the ``mask_token_id`` of the tokenizer.
    token_share : float, default=0.15
        Share of the tokens that are replaced or dropped, evenly spread, in (0, 0.5].
    token_noise_scale : float, default=1.0
        Standard deviation of the noise at the embedding, in those of the vectors of the
        tokens, of each of their coordinates.
    random_state : int, RandomState instance or None, default=None
        Draws the noise in `fit`. Someone who knows the noise can attack it directly,
        someone who does not has to average over many patterns.
    input_shape : array-like of int, default=None
        Shape of one sample, when X comes as 2-D rows.
    batch_size : int, default=128
        Samples per pass.
    num_workers : int, default=0
        Processes that read the samples of a Dataset; 0 reads them in this one.
    n_jobs : int, default=None
        Processes that compute the features of parts of X, by joblib. None is 1 unless
        in a ``joblib.parallel_config``, -1 is one for each processor.
    device : str or torch.device, default=None
        Where to compute; None is the model's own device.
    memory : str or joblib.Memory, default=None
        Cache of the features on disk, as in scikit-learn's Pipeline. It knows functions
        by their names; clear it after changing one.
    verbose : bool or int, default=False
        Whether to show a progress bar.

    Attributes
    ----------
    changes_ : list of str
        Names of the changes, in the order of the columns.
    n_classes_ : int
        Number of logits of the model.
    input_shape_ : tuple of int
        Shape of one sample as the model sees it; of several inputs, a dict of shapes.
    integer_inputs_ : bool or dict of bool
        Whether whole numbers in X reach the model as integers, not as floats. Of
        several inputs a dict may say so of each, by its name.
    n_features_in_ : int
        Length of the second axis of X.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Column names of X, if it was a data frame.

    See Also
    --------
    NetworkFeatures : Several families of columns from one pass.
    skgrad.StableConfidence : Scores the confidence on the copies.
    skgrad.ConfidenceDrop : Scores how far the confidence falls.

    Notes
    -----
    Cost: one forward pass per batch, and one more per change. `fit` also runs one
    sample per change, and 256 up to the embedding where the noise is added there.

    Columns are named ``log_odds_unchanged`` and ``log_odds_<change>``.

    The log-odds are the logit of class k less the log-sum-exp of all others, exact
    where the softmax rounds to 0 or 1.

    `fit` learns from X its standard deviation, that of vectors of tokens, and its
    range, from the first 256 samples: shuffle what is sorted. Where neither "noise" nor
    "grey" is a change it learns nothing.

    Of several inputs "noise" and "grey" change all floats, the changes of images those
    of shape (n_channels, height, width), "mask" the entry ``input_ids`` and "drop" the
    entry ``attention_mask``; both leave the first token. "noise" is also added where
    ``input_ids`` are looked up, without floats any whole numbers but the mask: at the
    first ``torch.nn.Embedding`` or ``EmbeddingBag``, called as a module, that gets them
    as they are, else the first that gets numbers of their shape, in all its calls.
    Padding counts for nothing where there is an ``attention_mask``, and for noise where
    the embedding has a ``padding_idx``. The first token has the first row of the
    pattern, however long the text and its padding are; texts longer than those that
    `fit` saw first repeat the rows.

    References
    ----------
    Roth, Kilcher, Hofmann (2019), "The Odds are Odd: A Statistical Test for Detecting
    Adversarial Examples" (log-odds under noise, with thresholds per pair of classes).

    Xu, Evans, Qi (2018), "Feature Squeezing: Detecting Adversarial Examples in Deep
    Neural Networks" (fewer levels; `skgrad.baselines.FeatureSqueezing`).

    Examples
    --------
    >>> import torch
    >>> from skgrad import StabilityTransformer
    >>> model, X = torch.nn.Linear(2, 3), torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> double = ("doubled", lambda x: 2 * x)
    >>> transformer = StabilityTransformer(model, ["noise", double], random_state=0)
    >>> transformer.fit_transform(X).shape
    (2, 3)
    >>> transformer.get_feature_names_out().tolist()
    ['log_odds_unchanged', 'log_odds_noise', 'log_odds_doubled']
    """

    _parameter_constraints: dict = {
        **BaseModelTransformer._parameter_constraints,
        **Stability._parameter_constraints,
    }

    def __init__(
        self,
        model,
        changes=AUTO,
        *,
        noise_scale=0.1,
        n_levels=16,
        n_pixels=1,
        token=0,
        token_share=0.15,
        token_noise_scale=1.0,
        random_state=None,
        input_shape=None,
        batch_size=128,
        num_workers=0,
        n_jobs=None,
        device=None,
        memory=None,
        verbose=False,
    ):
        self.model = model
        self.changes = changes
        self.noise_scale = noise_scale
        self.n_levels = n_levels
        self.n_pixels = n_pixels
        self.token = token
        self.token_share = token_share
        self.token_noise_scale = token_noise_scale
        self.random_state = random_state
        self.input_shape = input_shape
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.n_jobs = n_jobs
        self.device = device
        self.memory = memory
        self.verbose = verbose

    def _make_families(self):
        options = {name: getattr(self, name) for name in Stability().get_params()}
        return {"": Stability(**options)}

    def _adopt(self, families):
        self.changes_ = families[""].changes_
