//! The GitHub Gists API as one WASI HTTP component.
