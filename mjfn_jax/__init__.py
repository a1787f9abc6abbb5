"""MJFN in JAX and Flax: flow images, leave-one-subject-out, scores."""
