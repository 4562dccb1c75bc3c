//! The threads beside the owner of the data plane.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use vpc_common::layout::program;

use super::{
    Dataplane, OpenError,
    counters::Counters,
    departures::DepartureCount,
    events::{self, FlowSink, HighWater},
    grace::Grace,
    no_maps_of_maps, object, punt, sweep,
    tables::SharedTables,
};

impl Dataplane {
    /// Starts the threads that serve the kernel programs.
    pub fn start_workers(
        &self,
        sink: Box<dyn FlowSink>,
        high_water: HighWater,
    ) -> Result<Workers, OpenError> {
        let stop = Arc::new(AtomicBool::new(false));
        let maps = self.pin_dir.join(object::MAPS);
        let context = WorkerContext {
            stop: Arc::clone(&stop),
            shared: Arc::clone(&self.tables.shared),
            counters: Arc::clone(&self.counters),
            purge: Arc::clone(&self.purge),
            departures: self.departures.count(),
            export_secs: sink.period_secs().max(1),
            exports: Arc::default(),
        };
        let grace = Grace::open().map_err(no_maps_of_maps)?;
        let sweep = self.programs.runnable(program::SWEEP)?;
        let sweeper = sweep::Sweeper::new(&context, sweep, grace, &maps)?;
        let punts = punt::Punts::open(&context, &self.programs, &maps)?;
        let observer = events::Observer::open(&context, &maps, sink, high_water)?;
        let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(work)
                .map_err(|source| OpenError::Socket {
                    what: "thread, not a",
                    source,
                })
        };
        let mut workers = Workers {
            stop,
            threads: Vec::new(),
        };
        workers
            .threads
            .push(spawn("vpc-sweep", Box::new(move || sweeper.run()))?);
        workers
            .threads
            .push(spawn("vpc-punt", Box::new(move || punts.run()))?);
        workers
            .threads
            .push(spawn("vpc-events", Box::new(move || observer.run()))?);
        Ok(workers)
    }
}

/// What the threads share.
#[derive(Clone)]
pub struct WorkerContext {
    stop: Arc<AtomicBool>,
    /// Tables that the kernel writes.
    pub shared: Arc<SharedTables>,
    /// The agent's counters.
    pub counters: Arc<Counters>,
    /// Set when an environment was detached.
    pub purge: Arc<AtomicBool>,
    /// How many were.
    pub departures: Arc<DepartureCount>,
    /// In which seconds every flow is reported once, at multiples of it.
    pub export_secs: u32,
    /// How often the sweep has reported every flow.
    pub exports: Arc<AtomicU64>,
}

impl WorkerContext {
    /// Whether it is time to end.
    pub fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// The running threads. Dropping this leaves them running; see [`Workers::stop`].
pub struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Ends the threads and waits for them: less than half a second.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the data plane had panicked");
            }
        }
    }
}
