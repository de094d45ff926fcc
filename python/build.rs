//! Symbols of Python are found when Python loads the module, which macOS's linker must be told.

fn main() {
    pyo3_build_config::add_extension_module_link_args();
}
