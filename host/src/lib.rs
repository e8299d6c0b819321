//! A server that runs WASI HTTP components, and knows nothing of what they do.
