"""Networks for video that convert to residual form as they are: two for segmentation, one classifier."""
