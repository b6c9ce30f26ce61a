//! `guildhall-bindgen <input.wasm> <output-directory>`: runs wasm-bindgen on the Worker.
//!
//! The target is `web` because its glue starts nothing by itself: `initSync` takes a compiled module, and the build
//! wraps the glue in a function, so that the Worker can be instantiated again after a trap (`src/platform/shim.js`).
//! wasm-bindgen's own reset function is not used: it swaps the instance under the closures of other requests.

use std::env;
use std::error::Error;
use std::path::PathBuf;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (Some(input), Some(output), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: guildhall-bindgen <input.wasm> <output-directory>".into());
    };
    Bindgen::new().input_path(input).web(true)?.typescript(false).remove_producers_section(true).generate(output)?;
    Ok(())
}
