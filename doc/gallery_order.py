"""The order of the gallery: from first steps to writing detectors."""

ORDER = [
    "plot_quick_start.py",
    "plot_skorch.py",
    "plot_torchvision_resnet.py",
    "plot_vision_transformer.py",
    "plot_text_classifier.py",
    "plot_time_series.py",
    "plot_choose_threshold.py",
    "plot_explain_alarm.py",
    "plot_service.py",
    "plot_export_onnx.py",
    "plot_dask.py",
    "plot_recommended_detector.py",
    "plot_confounding_gradients.py",
    "plot_geometric_gradients.py",
    "plot_uniform_framework.py",
    "plot_search_with_cache.py",
    "plot_adaptive_attack.py",
    "plot_compare_libraries.py",
    "plot_new_detector.py",
]


def position(filename):
    """Return where a page stands; one that is not listed is an error."""
    return ORDER.index(filename)
