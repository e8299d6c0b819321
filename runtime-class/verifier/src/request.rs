//! What containerd asks: `-name NAME -digest DIGEST -stdin-media-type TYPE`, with the image's descriptor on standard input.

use crate::{
    digest::Digest,
    error::{Error, Result},
    reference::Reference,
};

/// A pull that containerd is about to make.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// The image's registry and repository.
    pub image: Reference,
    /// The digest that is pulled, of an index or of a manifest.
    pub digest: Digest,
}

impl Request {
    /// Reads the arguments. An argument that a later containerd adds is ignored.
    ///
    /// # Errors
    /// When the name or the digest is missing or wrong.
    pub fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let (mut name, mut digest) = (None, None);
        let mut arguments = arguments.into_iter();
        while let Some(flag) = arguments.next() {
            let value = arguments.next().ok_or_else(|| Error::Arguments(format!("{flag:?} has no value")))?;
            match flag.as_str() {
                "-name" => name = Some(value),
                "-digest" => digest = Some(value),
                _ => {}
            }
        }
        let name = name.ok_or_else(|| Error::Arguments("no -name".to_owned()))?;
        let digest = digest.ok_or_else(|| Error::Arguments("no -digest".to_owned()))?;
        Ok(Self { image: Reference::parse(&name)?, digest: digest.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Request> {
        Request::parse(line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned))
    }

    #[test]
    fn the_arguments_of_containerd_are_read_and_none_may_be_missing() {
        let digest = Digest::of(b"image");
        let request =
            parse(&format!("-name example.com/api:1 -digest {digest} -stdin-media-type x/y")).unwrap();
        assert_eq!(
            request,
            Request { image: Reference::parse("example.com/api").unwrap(), digest: digest.clone() }
        );
        for (line, part) in [
            (String::new(), "no -name"),
            (format!("-digest {digest}"), "no -name"),
            ("-name example.com/api".to_owned(), "no -digest"),
            ("-name example.com/api -digest".to_owned(), "has no value"),
            ("-name example.com/api -digest sha256:1".to_owned(), "64 hexadecimal digits"),
            (format!("-name api -digest {digest}"), "no registry"),
        ] {
            let error = parse(&line).unwrap_err().to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }
}
