"""Looking at what a detector was fitted on."""


class RecordsFit:
    """Mixed into a detector, keeps the rows that it was fitted on."""

    def _fit_scores(self, X, names, random_state):
        self.seen_ = X
        super()._fit_scores(X, names, random_state)
