//! Functions, their ENIs and environments, through a real agent, kernel and sockets.

mod cni;
mod life;
