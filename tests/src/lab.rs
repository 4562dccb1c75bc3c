//! What the lab does, step by step. Each step prints what was expected and what
//! was seen; a step that fails does not stop the ones that do not need it.

use std::{
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{agent, plan::Plan, world::World};

mod steps;

/// How the lab runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// End after the demonstration.
    pub once: bool,
}

/// Runs the lab; whether every step held.
pub fn run(options: &Options) -> Result<bool> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("watch for signals")?;
    }
    // A panic of a step is shown as its outcome.
    std::panic::set_hook(Box::new(|_| {}));
    let mut show = Show { failed: 0, stop };
    println!("Two tenants with one subnet, four environments with one address and one MAC.\n");
    let held = perform(&mut show, options)?;
    println!("Namespaces, interfaces and pins are removed.");
    Ok(held)
}

/// Brings the world up, shows what it does and takes it down.
fn perform(show: &mut Show, options: &Options) -> Result<bool> {
    if let Some(world) = bring_up(show)? {
        steps::demonstrate(show, &world);
        if show.failed > 0 {
            eprintln!("\n{} steps FAILED.", show.failed);
            world.report();
        } else if !show.stopped() {
            println!("\nEvery step held.");
            if options.once {
                return Ok(true);
            }
            watch(show, &world)?;
            return Ok(true);
        }
    }
    if show.stopped() {
        println!("\nInterrupted.");
    }
    Ok(false)
}

/// The steps' audience.
pub struct Show {
    failed: u32,
    stop: Arc<AtomicBool>,
}

impl Show {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs a step, unless the lab is to end, and prints its outcome.
    fn step<T>(&mut self, title: &str, work: impl FnOnce() -> Result<(T, String)>) -> Option<T> {
        if self.stopped() {
            return None;
        }
        print!("{title:<58} ");
        // A closed terminal is no reason to leave anything behind.
        let _ = std::io::stdout().flush();
        let outcome = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            bail!("{}", text.unwrap_or_else(|| "it panicked".to_owned()))
        });
        match outcome {
            Ok((value, seen)) => {
                println!("ok      {seen}");
                Some(value)
            }
            Err(error) => {
                println!("FAILED  {error:#}");
                self.failed += 1;
                None
            }
        }
    }
}

/// Builds everything; `None` if that failed or was interrupted.
fn bring_up(show: &mut Show) -> Result<Option<World>> {
    let found = show.step("the agent's binary", || {
        Ok(((), agent::binary().display().to_string()))
    });
    if found.is_none() {
        return Ok(None);
    }
    let built = show.step("namespaces, links and servers", || {
        let world = World::build(Plan::new(&["blue", "green"], 2));
        let places: Vec<_> = world
            .environments()
            .iter()
            .map(|e| e.netns.name())
            .collect();
        let seen = format!("environments in {}", places.join(", "));
        Ok((world, seen))
    });
    let Some(mut world) = built else {
        return Ok(None);
    };
    let started = show.step("agent", || {
        world.start_agent();
        let status = world.status();
        let seen = format!(
            "pid {}, layout {}, room for {} flows",
            status.pid, status.layout, status.flow_capacity
        );
        Ok(((), seen))
    });
    if started.is_none() {
        return Ok(None);
    }
    for index in 0..world.environments().len() {
        let request = world.attach_request(index);
        let title = format!("attach {} to group {}", request.name, request.group);
        show.step(&title, || {
            let info = world.attach(request).map_err(anyhow::Error::msg)?;
            Ok(((), format!("{} with {}", info.interface, info.address)))
        });
    }
    if show.failed > 0 {
        world.report();
    }
    if show.failed > 0 || show.stopped() {
        return Ok(None);
    }
    println!();
    Ok(Some(world))
}

/// Shows the status until a signal, over light traffic of every environment.
fn watch(show: &Show, world: &World) -> Result<()> {
    thread::scope(|scope| {
        for environment in world.environments() {
            scope.spawn(move || {
                environment.netns.run(|| {
                    while !show.stopped() {
                        steps::background();
                        thread::sleep(Duration::from_millis(500));
                    }
                });
            });
        }
        let outcome = screen(show, world);
        show.stop.store(true, Ordering::Relaxed);
        outcome
    })
}

fn screen(show: &Show, world: &World) -> Result<()> {
    let mut top = Command::new(agent::binary())
        .arg("top")
        .env("VPC_SOCKET", world.socket())
        .stdin(Stdio::null())
        .spawn()
        .context("start `vpc top`")?;
    loop {
        if let Some(status) = top.try_wait()? {
            if !show.stopped() && !status.success() {
                bail!("`vpc top` ended with {status}");
            }
            return Ok(());
        }
        if show.stopped() {
            let pid = nix::unistd::Pid::from_raw(top.id().cast_signed());
            // It leaves the alternate screen before it ends; a failure means that
            // it has ended, by the terminal's own interrupt.
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
            top.wait()?;
            return Ok(());
        }
        thread::sleep(Duration::from_millis(50));
    }
}
