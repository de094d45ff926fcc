//! Files that users name: regular files, pipes (also `/dev/stdin` and a shell's process substitution), and `-` for standard
//! input. A folder, a device and a socket are refused before they are opened.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

/// What messages call standard input.
pub(crate) const STANDARD_INPUT: &str = "standard input";

/// Extensions of archives of one file.
const PACKED: [&str; 3] = ["gz", "zst", "xz"];

/// Something that can be read, once.
pub(crate) type Stream = Box<dyn Read + Send + Sync>;

/// An input that is open.
pub(crate) enum Input {
    /// A file that can be read again.
    File(File),
    /// What comes once.
    Pipe(Stream),
}

/// Opens an input. A pipe is waited for until somebody writes to it.
pub(crate) fn open(path: &Path) -> io::Result<Input> {
    if is_standard_input(path) {
        return Ok(Input::Pipe(Box::new(io::stdin())));
    }
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() {
        return Ok(Input::File(File::open(path)?));
    }
    if metadata.is_dir() {
        return Err(ErrorKind::IsADirectory.into());
    }
    if !is_pipe(&metadata) {
        return Err(io::Error::other("not a regular file and no pipe"));
    }
    Ok(Input::Pipe(Box::new(File::open(path)?)))
}

/// Opens what this program itself has left in a folder: no pipe is waited for.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    match std::fs::metadata(path)? {
        metadata if metadata.is_dir() => Err(ErrorKind::IsADirectory.into()),
        metadata if !metadata.is_file() => Err(io::Error::other("it is a pipe or a device, not a regular file")),
        _ => File::open(path),
    }
}

/// The bytes of such a file.
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_file(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Files as a configuration names them.
#[derive(Clone, Debug, Default)]
pub struct ReadFiles {
    /// As they are named from the current folder.
    pub files: Vec<PathBuf>,
    /// Names that are looked for in the configuration's folder, too, and need not be those of files.
    pub names: Vec<String>,
    /// That folder.
    pub folder: Option<PathBuf>,
}

impl ReadFiles {
    /// The file that a path is of, if it is one of these, or one in a folder of these, as it is named here.
    #[must_use]
    pub fn reads(&self, path: &Path) -> Option<PathBuf> {
        self.holds(path).or_else(|| path.exists().then(|| self.holds(path.parent()?)).flatten())
    }

    /// The file that a path is of, if it is one of these, as it is named here.
    pub(crate) fn holds(&self, path: &Path) -> Option<PathBuf> {
        let known = identity(path)?;
        self.found().find(|read| identity(read).as_ref() == Some(&known))
    }

    /// All of them, folders too.
    pub(crate) fn found(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.names.iter().filter_map(|name| find(name, self.folder.as_deref()));
        self.files.iter().cloned().chain(named)
    }
}

/// A file: as named from the current folder, else from the configuration's folder and its parents.
pub(crate) fn find(name: &str, config_folder: Option<&Path>) -> Option<PathBuf> {
    let name = Path::new(name);
    let from_config = config_folder.into_iter().flat_map(Path::ancestors).map(|folder| folder.join(name));
    std::iter::once(name.to_path_buf()).chain(from_config).find(|path| path.exists())
}

/// By which a file is known under all of its names.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

/// Whether `-` is meant.
pub(crate) fn is_standard_input(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether a name is that of a pipe, which can be read once.
pub(crate) fn is_pipe_at(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| is_pipe(&metadata))
}

/// What messages call an input.
pub(crate) fn shown(path: &Path) -> &Path {
    if is_standard_input(path) { Path::new(STANDARD_INPUT) } else { path }
}

/// What is named after an input: its name without the extension. The system's names of pipes (`/dev/fd/63`) are of no run.
pub(crate) fn stem(path: &Path) -> String {
    if is_standard_input(path) || path.starts_with("/dev") || path.starts_with("/proc") {
        return "stdin".to_owned();
    }
    // Of `trace.csv.gz` what is packed gives the name.
    let is_packed = path.extension().is_some_and(|extension| PACKED.iter().any(|packed| extension == *packed));
    let unpacked = if is_packed { path.with_extension("") } else { path.to_owned() };
    unpacked.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

impl Input {
    /// The bytes, once.
    pub(crate) fn into_stream(self) -> Stream {
        match self {
            Self::File(file) => Box::new(file),
            Self::Pipe(stream) => stream,
        }
    }
}

#[cfg(unix)]
fn is_pipe(metadata: &Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    metadata.file_type().is_fifo()
}

#[cfg(not(unix))]
fn is_pipe(_metadata: &Metadata) -> bool {
    false
}
