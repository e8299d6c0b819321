//! What the fuzz targets share.

pub mod fields;
pub mod oracle;
