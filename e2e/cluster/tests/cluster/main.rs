//! What the cluster must show, asked of a real one: one file a subject. Run by `make test-cluster`, one test at a time.

mod harness;
