//! The workloads.
pub mod article;
