//! Decides whether containerd may pull an image: whether the image is signed with a key of the node's policy.
//!
//! containerd 2 runs this program before each pull, as a plugin of the kind `io.containerd.image-verifier.v1.bindir`. The program
//!
//! - reads the node's policy ([`policy`]): which repositories need a signature, and by which keys;
//! - asks the image's registry for the signatures of the image's digest ([`registry`]);
//! - allows the pull if one of them is by a key of the policy and names this digest ([`bundle`]).
//!
//! A signature has the form that cosign 3 writes: a Sigstore bundle whose DSSE envelope holds an in-toto statement, attached to the image
//! as an OCI referrer. Every error refuses the pull: a policy that cannot be read, a registry that does not answer, a time limit.

pub mod bundle;
pub mod digest;
pub mod error;
pub mod key;
pub mod policy;
pub mod reference;
pub mod registry;
pub mod request;
mod resolver;
pub mod verdict;
