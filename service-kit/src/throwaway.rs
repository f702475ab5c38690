//! PostgreSQL servers that end with this process, from the machine's own binaries: for tests, and for measurements that
//! were given no server. Their data is in a temporary folder.

use std::{
    io::{self, BufRead as _, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Where Debian keeps them, by version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// Longest name of a folder with Unix sockets, in bytes: with that of the socket the system takes 107.
const MAX_SOCKETS: usize = 80;
/// Connections of a server.
const CONNECTIONS: u16 = 200;

/// What to start.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Whether a power cut is survived. Tests do without.
    pub fsync: bool,
    /// Whether a commit waits for a standby too, and for what.
    pub standby: Option<Standby>,
}

/// What a commit waits for at the standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standby {
    /// `synchronous_commit=on`: that its disk has it.
    On,
    /// `remote_apply`: that a query there finds it.
    RemoteApply,
}

/// A server, or two.
#[derive(Debug)]
pub struct Throwaway {
    /// The database of the primary server.
    pub url: String,
    /// The same on the standby, if there is one: for reading until it is promoted.
    pub standby_url: Option<String>,
    folder: TempDir,
    script: Child,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There are no binaries on this machine.
    #[error("no PostgreSQL binaries found; install postgresql")]
    Missing,
    /// Run as root it needs the user that Debian's package makes.
    #[error("PostgreSQL needs the user postgres when run as root")]
    NoUser,
    /// It did not come up.
    #[error("PostgreSQL did not start: {0}")]
    Failed(String),
    /// A folder, a port or a process was not to be had.
    #[error("PostgreSQL cannot be started")]
    Io(#[from] io::Error),
}

impl Throwaway {
    /// Starts a server, with its standby if one is wanted: a commit waits for it from then on.
    ///
    /// # Errors
    ///
    /// [`StartError`].
    pub fn start(wanted: Wanted) -> Result<Self, StartError> {
        let binaries = binaries().ok_or(StartError::Missing)?;
        let folder = tempfile::Builder::new().prefix("tillsync-pg-").tempdir()?;
        let as_user = as_user(folder.path())?;
        let (primary, standby) = (free_port()?, free_port()?);
        // Pages that were written in half are a matter of power cuts, too.
        let durable = if wanted.fsync { "" } else { "-c fsync=off -c full_page_writes=off" };
        let commit = match wanted.standby {
            Some(Standby::RemoteApply) => "remote_apply",
            Some(Standby::On) | None => "on",
        };
        // Their names are bounded, so in a deep folder there is none.
        let sockets = Some(folder.path()).filter(|path| path.as_os_str().len() <= MAX_SOCKETS);
        let sockets = sockets.unwrap_or(Path::new("")).display();
        let server = format!(
            "-c listen_addresses=127.0.0.1 -c unix_socket_directories='{sockets}' -c log_min_messages=fatal {durable} \
             -c max_connections={CONNECTIONS} -c synchronous_commit={commit}"
        );
        let (data, bin) = (folder.path().display(), binaries.display());
        let ready = |port| {
            format!("until '{bin}/pg_isready' -q -h 127.0.0.1 -p {port}; do kill -0 $pid; sleep 0.05; done;")
        };
        let stop = |name: &str| {
            format!("{as_user} '{bin}/pg_ctl' stop -s -m immediate -D '{data}/{name}' 2>/dev/null || true;")
        };
        let (mut up, mut down) = (String::new(), stop("db"));
        if wanted.standby.is_some() {
            up = format!(
                "{as_user} '{bin}/pg_basebackup' -h 127.0.0.1 -p {primary} -U postgres -D '{data}/standby' -R -X stream \
                 -c fast; \
                 {as_user} '{bin}/postgres' -D '{data}/standby' -p {standby} {server} -c primary_conninfo='host=127.0.0.1 \
                 port={primary} user=postgres application_name=standby' >standby.log 2>&1 & pid=$!; {} \
                 {as_user} '{bin}/psql' -q -h 127.0.0.1 -p {primary} -U postgres \
                 -c \"alter system set synchronous_standby_names = 'standby'\" -c 'select pg_reload_conf()' >/dev/null;",
                ready(standby)
            );
            down += &stop("standby");
        }
        // The shell ends the servers when its standard input closes, which it does however this process ends. Not by a
        // signal of its own: SIGINT is ignored by what a shell runs in the background.
        let script = format!(
            "set -e; cd '{data}'; \
             {as_user} '{bin}/initdb' -D '{data}/db' -U postgres -A trust -E UTF8 --locale=C.UTF-8 -N >initdb.log 2>&1; \
             {as_user} '{bin}/postgres' -D '{data}/db' -p {primary} {server} >server.log 2>&1 & pid=$!; {} {up} \
             echo ready; cat >/dev/null; {down} wait || true; rm -rf '{data}'",
            ready(primary)
        );
        let script = run(&script, folder.path())?;
        let url = |port| format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
        let standby_url = wanted.standby.map(|_| url(standby));
        Ok(Self { url: url(primary), standby_url, folder, script })
    }

    /// The process of the primary server; its children are its connections and helpers.
    #[must_use]
    pub fn primary_process(&self) -> Option<u32> {
        self.process("db")
    }

    /// The same of the standby.
    #[must_use]
    pub fn standby_process(&self) -> Option<u32> {
        self.process("standby")
    }

    fn process(&self, data: &str) -> Option<u32> {
        let text = std::fs::read_to_string(self.folder.path().join(data).join("postmaster.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }
}

impl Drop for Throwaway {
    fn drop(&mut self) {
        drop(self.script.stdin.take());
        let _ = self.script.wait();
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// PostgreSQL refuses to run as root; Debian's package makes the user postgres.
fn as_user(folder: &Path) -> Result<&'static str, StartError> {
    if !is_root() {
        return Ok("");
    }
    let owned = Command::new("chown").arg("postgres").arg(folder).status()?;
    if owned.success() { Ok("runuser -u postgres --") } else { Err(StartError::NoUser) }
}

/// Runs a script until it says that it is ready. It goes on until its standard input closes.
fn run(script: &str, folder: &Path) -> Result<Child, StartError> {
    let mut shell = Command::new("sh");
    let mut child = shell.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut line)?;
    }
    if line.trim() == "ready" {
        return Ok(child);
    }
    let _ = child.kill();
    let _ = child.wait();
    let logs = ["initdb.log", "server.log", "standby.log"];
    // The newest of them says why.
    let said = logs.iter().rev().find_map(|log| std::fs::read_to_string(folder.join(log)).ok());
    Err(StartError::Failed(said.unwrap_or_default().trim().to_owned()))
}

/// The folder with `initdb`, `postgres`, `pg_dump` and the others: on the path, or where Debian keeps them.
#[must_use]
pub fn binaries() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = debian.map(|version| version.path().join("bin")).collect();
    folders.sort();
    folders.extend(std::env::split_paths(&on_path));
    folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
