//! Tidemark beside what users would pick instead, in one run on the same data.
pub mod workload;
