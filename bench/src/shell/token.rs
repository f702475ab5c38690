//! `tillsync token`: who may come in with which token (rule Z4). It changes a file; the services that were told of it read
//! it again within a second.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use service_kit::{
    clock,
    door::{self, Access, TokenError},
};
use tillsync_proto::access;

use super::{columns, row};
use crate::{error::Error, say};

/// The options of `token`.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What to do.
    #[command(subcommand)]
    command: TokenCommand,
    /// The file that a service is told with --tokens. It has the tokens' hashes, never a token.
    #[arg(
        long,
        global = true,
        env = "TILLSYNC_TOKENS",
        value_name = "FILE",
        default_value = "tillsync-tokens"
    )]
    tokens: PathBuf,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Gives a caller a token and prints it: nobody can see it again. A caller may have several, so that an old one is
    /// in use until a new one is everywhere.
    Add {
        /// Who it is: terminal, channel, administrator or monitor.
        role: String,
        /// Its name: of a channel and of a terminal the id that it runs under.
        name: String,
    },
    /// Takes the tokens of a caller back.
    Revoke {
        /// Its role.
        role: String,
        /// Its name.
        name: String,
        /// All but the newest, once that is in use.
        #[arg(long)]
        keep_newest: bool,
    },
    /// Who has tokens, and how many.
    List,
}

/// Does it.
///
/// # Errors
///
/// A role or a name that is none, or the file.
pub fn token(args: &TokenArgs) -> Result<ExitCode, Error> {
    say(&done(args)?);
    Ok(ExitCode::SUCCESS)
}

fn done(args: &TokenArgs) -> Result<String, Error> {
    let wrong = |error: TokenError| Error::Usage(service_kit::config::Chain(&error).to_string());
    match &args.command {
        TokenCommand::Add { role, name } => {
            let secret = clock::secret().map_err(|error| Error::System(std::io::Error::other(error)))?;
            let access = Access { roles: access::ROLES, ..Access::default() };
            let token = door::add(&args.tokens, &access, role, name, secret).map_err(wrong)?;
            Ok(format!("{token}\n"))
        }
        TokenCommand::Revoke { role, name, keep_newest } => {
            let gone = door::revoke(&args.tokens, role, name, usize::from(*keep_newest)).map_err(wrong)?;
            Ok(format!("{gone} token{} of {role} {name} revoked.\n", if gone == 1 { "" } else { "s" }))
        }
        TokenCommand::List => {
            let mut listed = door::list(&args.tokens).map_err(|error| wrong(error.into()))?;
            listed.sort();
            let rows = listed.chunk_by(|one, next| one == next).map(|same| {
                let (role, name) = &same[0];
                row([role, name, &same.len().to_string()])
            });
            Ok(columns(&rows.collect::<Vec<_>>()))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn z4_an_administrator_gives_tokens_and_takes_them_back() {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        let run =
            |command| done(&TokenArgs { command, tokens: tokens.clone() }).map_err(|error| error.to_string());
        let add =
            |role: &str, name: &str| run(TokenCommand::Add { role: role.to_owned(), name: name.to_owned() });
        let (one, other) = (add("channel", "store-1").unwrap(), add("channel", "store-1").unwrap());
        assert!(one != other && one.len() == "tillsync-\n".len() + 64, "{one}");
        add("terminal", "till-1").unwrap();
        assert_eq!(run(TokenCommand::List).unwrap(), "channel   store-1  2\nterminal  till-1   1\n");
        assert!(
            add("cook", "jo").unwrap_err().contains("there are terminal, channel, administrator, monitor")
        );
        assert!(add("channel", "a b").unwrap_err().contains("is not a name"));
        let revoke = |keep_newest| {
            run(TokenCommand::Revoke { role: "channel".to_owned(), name: "store-1".to_owned(), keep_newest })
        };
        let hashes = || fs::read_to_string(&tokens).unwrap();
        let newest = hashes().lines().rfind(|line| line.starts_with("channel")).unwrap().to_owned();
        assert_eq!(revoke(true).unwrap(), "1 token of channel store-1 revoked.\n");
        assert!(hashes().contains(&newest) && revoke(true).unwrap_err().contains("no token to take back"));
        assert_eq!(revoke(false).unwrap(), "1 token of channel store-1 revoked.\n");
        assert!(!hashes().contains("tillsync-"));
    }
}
