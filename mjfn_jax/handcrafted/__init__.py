"""Methods without a network: features of a clip, then an SVM."""
