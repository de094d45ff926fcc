//! Configuration: files and flags in, a resolved scenario out.
