//! Packs the charts' library for `report`: plotly.js as the crate carries it, without the MathJax behind it, compressed and in
//! base64, so that a page holds 1.9 MB of it in place of 4.7.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=build.rs");
    let scripts = plotly::Plot::offline_js_sources();
    let first = scripts.split_once('>').and_then(|(_, rest)| rest.split_once("</script>"));
    let (script, _) = first.expect("the crate gives its script first");
    assert!(script.contains("plotly.js v"), "the first script of the crate is plotly.js");
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(script.as_bytes())?;
    let folder = env::var_os("OUT_DIR").expect("cargo says where to");
    fs::write(Path::new(&folder).join("plotly.min.js.gz.base64"), STANDARD.encode(packed.finish()?))
}
