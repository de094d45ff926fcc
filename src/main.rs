//! The `llmperforacle` command.

fn main() -> std::process::ExitCode {
    llmperforacle::cli::main()
}
