"""INT8 calibration, sensitivity and precision plans."""
