//! `completions`: for the shell.

use clap_complete::Shell;

use super::failure::Failure;
use super::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  framex completions bash > ~/.local/share/bash-completion/completions/framex
  framex completions zsh > ~/.zfunc/_framex
  framex completions fish > ~/.config/fish/completions/framex.fish")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(options: &Completions, mut command: clap::Command) -> Result<(), Failure> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, name, &mut script);
    output::print(script)
}
