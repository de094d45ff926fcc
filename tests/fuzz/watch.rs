//! The watch over what is tried: panics are caught, hangs and memory end the process, and the input is kept.

use std::collections::HashSet;
use std::fs;
use std::io::{Seek, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::input::{Group, Input};

/// CPU time that an answer may take; on a busy machine the clock on the wall says little.
const HANG_CPU: Duration = Duration::from_secs(20);
/// CPU time from which on an answer is worth a look.
const SLOW_CPU: Duration = Duration::from_secs(3);
/// Nothing may wait this long for anything, either.
const HANG_WALL: Duration = Duration::from_secs(120);
/// Memory of the whole process, which also holds the corpus, in KiB.
const MOST_KIB: u64 = 1 << 20;
/// How often the watch looks.
const LOOK: Duration = Duration::from_millis(20);

/// The watch over a group.
pub struct Watch {
    started: Instant,
    folder: PathBuf,
    group: Group,
    seed: u64,
    under_way: Arc<Mutex<Option<UnderWay>>>,
    panicked: Arc<Mutex<Vec<String>>>,
    findings: Mutex<HashSet<String>>,
    at: Mutex<fs::File>,
}

struct UnderWay {
    number: u64,
    input: Input,
    wall: Instant,
    cpu: Duration,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Starts watching this thread and every panic of the process.
    pub fn start(group: Group, seed: u64) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
        fs::create_dir_all(&folder).expect("a folder for findings");
        let at = fs::File::create(folder.join(format!("{}.at", group.name()))).expect("a file for the number");
        let panicked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&panicked);
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map_or_else(String::new, ToString::to_string);
            lock(&heard).push(format!("{place}: {}", info.payload_as_str().unwrap_or("")));
        }));
        let under_way = Arc::new(Mutex::new(None));
        let watch = Self {
            started: Instant::now(),
            folder,
            group,
            seed,
            under_way: Arc::clone(&under_way),
            panicked,
            findings: Mutex::default(),
            at: Mutex::new(at),
        };
        let (folder, stat) = (watch.folder.clone(), cpu_file());
        thread::spawn(move || look(&under_way, &folder, &stat, group));
        watch
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// CPU time of this thread, which all targets run on.
    pub fn cpu(&self) -> Duration {
        cpu_time(&cpu_file())
    }

    /// Different findings so far.
    pub fn findings(&self) -> usize {
        lock(&self.findings).len()
    }

    /// Tries one input; `None` after a panic, here or in a thread.
    pub fn guard<T>(&self, number: u64, input: &Input, try_it: impl FnOnce() -> T) -> Option<T> {
        {
            let mut at = lock(&self.at);
            let _ = at.rewind().and_then(|()| writeln!(at, "seed {} number {number:<20}", self.seed));
        }
        let stat = cpu_file();
        let cpu = cpu_time(&stat);
        *lock(&self.under_way) = Some(UnderWay { number, input: input.clone(), wall: Instant::now(), cpu });
        let answer = panic::catch_unwind(AssertUnwindSafe(try_it));
        *lock(&self.under_way) = None;
        let taken = cpu_time(&stat).saturating_sub(cpu);
        if taken > SLOW_CPU {
            println!("slow: {taken:.1?} CPU\n  {}", keep(&self.folder, self.group, number, input).display());
        }
        let panics = std::mem::take(&mut *lock(&self.panicked));
        for panic in &panics {
            let place: String = panic.split(": ").next().unwrap_or_default().to_owned();
            if lock(&self.findings).insert(place) {
                let path = keep(&self.folder, self.group, number, input);
                println!("FINDING {panic}\n  {}", path.display());
            }
        }
        answer.ok().filter(|_| panics.is_empty())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(panic::take_hook());
    }
}

/// Looks for hangs and memory until the process ends.
fn look(under_way: &Mutex<Option<UnderWay>>, folder: &Path, stat: &Path, group: Group) {
    loop {
        thread::sleep(LOOK);
        let under_way = lock(under_way);
        let Some(now) = &*under_way else { continue };
        let memory = memory_kib();
        let cpu = cpu_time(stat).saturating_sub(now.cpu);
        let hangs = cpu > HANG_CPU || now.wall.elapsed() > HANG_WALL;
        if hangs || memory > MOST_KIB {
            let path = keep(folder, group, now.number, &now.input);
            let what = if hangs { "hang" } else { "memory" };
            println!(
                "FINDING {what} ({cpu:.1?} CPU, {} MiB)\n  number {} {}",
                memory >> 10,
                now.number,
                path.display()
            );
            std::process::exit(101);
        }
    }
}

fn keep(folder: &Path, group: Group, number: u64, input: &Input) -> PathBuf {
    let path = folder.join(format!("{}-{number}", group.name()));
    let _ = fs::write(&path, input.dump());
    path
}

/// Where this thread's CPU time stands.
fn cpu_file() -> PathBuf {
    let thread = fs::read_link("/proc/thread-self").unwrap_or_default();
    Path::new("/proc").join(thread).join("schedstat")
}

/// CPU time of a thread; zero where the system does not say.
fn cpu_time(stat: &Path) -> Duration {
    let text = fs::read_to_string(stat).unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0))
}

/// Resident memory of the process; zero where the system does not say.
fn memory_kib() -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().split(' ').next().and_then(|kib| kib.parse().ok()).unwrap_or(0)
}
