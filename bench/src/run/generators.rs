//! Generators in processes of their own: each makes a share of the calls of every run, counts, and hands the counts
//! over, which are merged. They are this program, told by lines of JSON what to do; they end when their input does.

use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use service_kit::clock::{Clock, SystemClock};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, stdin},
    process::{Child, ChildStdin, ChildStdout},
    sync::{Mutex, mpsc},
    time::interval,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Plan, Recorder,
    calls::Calls,
    drive::{Beside, Driven, Share},
    follow::Followed,
    recorder,
};
use crate::{
    acknowledged::Acknowledged,
    child,
    counts::Counts,
    error::Error,
    generator::Generator,
    load::Load,
    services::{Addresses, Fleet},
};

/// The subcommand that makes a process a generator.
const COMMAND: &str = "generate";
/// How often a generator tells how far it is.
const TELL: Duration = Duration::from_millis(250);

/// What a generator is told once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// The services.
    pub addresses: Addresses,
    /// Seed of customers and GUIDs.
    pub seed: u64,
    /// When the session began.
    pub epoch_micros: i64,
    /// Where acknowledged GUIDs are written to.
    pub acknowledged: PathBuf,
    /// Its number, from 1; the process that measures is 0.
    pub number: u64,
    /// How many there are, that process included.
    pub of: u64,
}

/// What a generator is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    /// First.
    Setup(Setup),
    /// A run.
    Run {
        /// Its place in the session.
        number: u64,
        load: Load,
        /// Wall time of its start.
        start_micros: i64,
        /// Creates that are acknowledged within this time are counted apart.
        goal: Duration,
    },
    /// It ends early.
    Stop,
}

/// What a generator says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    /// It is connected.
    Ready,
    /// How far it is.
    SoFar(recorder::Calls),
    /// A run is over.
    Counted(Box<Counts>),
    /// It cannot go on.
    Failed(String),
}

/// The other generators of a session; there may be none.
#[derive(Default)]
pub struct Generators {
    count: u64,
    processes: Mutex<Processes>,
}

#[derive(Default)]
struct Processes {
    /// Killed when they are dropped.
    children: Vec<Child>,
    inputs: Vec<ChildStdin>,
    /// What any of them says, by its place.
    heard: Option<mpsc::Receiver<(usize, Result<Said, Error>)>>,
}

impl Processes {
    async fn tell(&mut self, told: &Told) -> io::Result<()> {
        for input in &mut self.inputs {
            child::tell(input, told).await?;
        }
        Ok(())
    }

    /// What one of them says next; nothing if there is none.
    async fn hear(&mut self) -> Result<(usize, Said), Error> {
        let heard = match &mut self.heard {
            Some(heard) => heard.recv().await,
            None => None,
        };
        let (place, said) = heard.ok_or_else(|| Error::Generator("all have ended".to_owned()))?;
        Ok((place, said?))
    }
}

/// Hands on what a generator says, until it ends.
async fn listen(place: usize, output: ChildStdout, heard: mpsc::Sender<(usize, Result<Said, Error>)>) {
    let mut lines = BufReader::new(output).lines();
    loop {
        let said = match lines.next_line().await {
            Ok(Some(line)) => match serde_json::from_str(&line) {
                Ok(Said::Failed(why)) => Err(Error::Generator(why)),
                Ok(said) => Ok(said),
                Err(error) => Err(Error::Generator(error.to_string())),
            },
            Ok(None) => Err(Error::Generator("it has ended".to_owned())),
            Err(error) => Err(error.into()),
        };
        let over = said.is_err();
        if heard.send((place, said)).await.is_err() || over {
            return;
        }
    }
}

impl Generators {
    /// Starts so many besides this process, and waits until they are connected.
    ///
    /// # Errors
    ///
    /// One that cannot be started, or cannot connect.
    pub async fn start(setup: &Setup) -> Result<Self, Error> {
        let (told, heard) = mpsc::channel(16);
        let mut processes = Processes { heard: Some(heard), ..Processes::default() };
        for number in 1..setup.of {
            let (child, mut input, output) = child::start(COMMAND)?;
            child::tell(&mut input, &Told::Setup(Setup { number, ..setup.clone() })).await?;
            tokio::spawn(listen(processes.inputs.len(), output, told.clone()));
            processes.inputs.push(input);
            processes.children.push(child);
        }
        for _ in 1..setup.of {
            processes.hear().await?;
        }
        Ok(Self { count: setup.of - 1, processes: Mutex::new(processes) })
    }

    /// How many there are, this process included.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count + 1
    }

    /// Has them make their shares of a run that begins at an instant of wall time, tells the recorder how far they
    /// are, and gives what they have counted.
    ///
    /// # Errors
    ///
    /// A generator that has failed.
    pub(super) async fn make(
        &self,
        plan: &Plan,
        start_micros: i64,
        recorder: &Recorder,
        stop: &CancellationToken,
    ) -> Result<Vec<Counts>, Error> {
        let mut processes = self.processes.lock().await;
        let (number, load, goal) = (plan.number, plan.load.clone(), recorder.goal());
        processes.tell(&Told::Run { number, load, start_micros, goal }).await?;
        let (mut all, mut stopped) = (Vec::new(), false);
        while all.len() < processes.inputs.len() {
            let said = tokio::select! {
                said = processes.hear() => Some(said?),
                () = stop.cancelled(), if !stopped => None,
            };
            match said {
                None => {
                    stopped = true;
                    processes.tell(&Told::Stop).await?;
                }
                Some((place, Said::SoFar(calls))) => recorder.other(place, calls),
                Some((_, Said::Counted(counts))) => all.push(*counts),
                Some((_, Said::Ready | Said::Failed(_))) => {}
            }
        }
        Ok(all)
    }
}

/// Is a generator until its input ends.
///
/// # Errors
///
/// Services that cannot be had, a file that cannot be written, or an input that makes no sense.
pub async fn generate() -> Result<ExitCode, Error> {
    child::leave_ctrl_c_alone();
    let made = serve().await;
    if let Err(error) = &made {
        let _ = child::say(&Said::Failed(service_kit::config::Chain(error).to_string())).await;
    }
    made.map(|()| ExitCode::SUCCESS)
}

fn understood(line: &str) -> Result<Told, Error> {
    serde_json::from_str(line)
        .map_err(|error| Error::Usage(format!("a generator was told nonsense: {error}")))
}

async fn serve() -> Result<(), Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let mut lines = BufReader::new(stdin()).lines();
    let Some(line) = lines.next_line().await? else { return Ok(()) };
    let Told::Setup(setup) = understood(&line)? else {
        return Err(Error::Usage(format!("tillsync {COMMAND} is for tillsync itself")));
    };
    let generator = Generator::start(1)?;
    let addresses = setup.addresses.clone();
    let connecting = generator.spawn(async move { Fleet::connect(&addresses).await });
    let fleet = connecting.await.map_err(io::Error::from)??;
    let acknowledged = Arc::new(Acknowledged::append(&setup.acknowledged)?);
    child::say(&Said::Ready).await?;
    while let Some(line) = lines.next_line().await? {
        let Told::Run { number, load, start_micros, goal } = understood(&line)? else { continue };
        let window = load.window();
        let recorder = Arc::new(Recorder::new(window, goal));
        let ahead = u64::try_from(start_micros - clock.wall_micros()).unwrap_or_default();
        let calls = Arc::new(Calls {
            clock: Arc::clone(&clock),
            fleet: fleet.clone(),
            acknowledged: Arc::clone(&acknowledged),
            recorder: Arc::clone(&recorder),
            followed: Arc::new(Followed::new(Arc::clone(&clock), Vec::new())),
            seed: setup.seed,
            epoch_micros: setup.epoch_micros,
            start: clock.now() + Duration::from_micros(ahead),
            run: number,
            probe_customer: Uuid::nil(),
            window,
            follow_every: u64::MAX,
        });
        let stop = CancellationToken::new();
        let share = Share { number: setup.number, of: setup.of };
        let mut driven = Driven::start(&calls, &generator, &load, share, Beside::default(), &stop)?;
        let ended = async {
            driven.made().await;
            driven.ended().await;
        };
        tokio::pin!(ended);
        let mut frames = interval(TELL);
        loop {
            tokio::select! {
                () = &mut ended => break,
                _ = frames.tick() => child::say(&Said::SoFar(recorder.calls())).await?,
                line = lines.next_line() => match line? {
                    Some(line) if matches!(understood(&line)?, Told::Stop) => stop.cancel(),
                    Some(_) => {}
                    None => return Ok(()),
                },
            }
        }
        child::say(&Said::Counted(Box::new(recorder.counted()))).await?;
    }
    Ok(())
}
