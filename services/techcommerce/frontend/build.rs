//! Compresses the assets, and names them by their content.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::{env, fs, io};

use sha2::{Digest as _, Sha256};

/// The files, and their media types.
const ASSETS: [(&str, &str); 3] = [
    ("shop.css", "text/css; charset=utf-8"),
    ("shop.js", "text/javascript; charset=utf-8"),
    ("icon.svg", "image/svg+xml"),
];

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=assets");
    let out = env::var_os("OUT_DIR").ok_or(io::Error::other("cargo sets OUT_DIR"))?;
    let out = Path::new(&out);
    let mut list = String::from("&[\n");
    for (file, media_type) in ASSETS {
        let content = fs::read(Path::new("assets").join(file))?;
        let hash: String =
            Sha256::digest(&content).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let (stem, extension) = file.split_once('.').unwrap_or((file, ""));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&content)?;
        let mut br = Vec::new();
        brotli::BrotliCompress(&mut &*content, &mut br, &brotli::enc::BrotliEncoderParams::default())?;
        for (suffix, bytes) in [("", content), (".gz", gzip.finish()?), (".br", br)] {
            fs::write(out.join(format!("{file}{suffix}")), bytes)?;
        }
        let include =
            |suffix: &str| format!("include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{file}{suffix}\"))");
        let (plain, gzip, br) = (include(""), include(".gz"), include(".br"));
        let _ = writeln!(
            list,
            "    Asset {{ source: {file:?}, name: \"{stem}-{hash}.{extension}\", media_type: {media_type:?}, plain: {plain}, \
             gzip: {gzip}, br: {br} }},"
        );
    }
    list.push(']');
    fs::write(out.join("assets.rs"), list)
}
