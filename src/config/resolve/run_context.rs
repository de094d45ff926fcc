//! What a configuration is read with but does not say itself: where it lies.

use std::path::PathBuf;

use crate::inputs;

/// Where files are looked for and what the run is called.
#[derive(Clone, Debug)]
pub(in crate::config) struct RunContext {
    /// Folder of the config file, absolute, if there is a file.
    pub(in crate::config) config_folder: Option<PathBuf>,
    /// Name of the run unless the config has one.
    pub(in crate::config) default_name: String,
}

impl RunContext {
    /// A file: as named from the current folder, else from the config file's folder and its parents.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        inputs::find(name, self.config_folder.as_deref())
    }
}
