//! Context of one input.

use std::sync::Arc;

use super::{Notice, Output, ReplyTo};
use crate::clock::Now;
use crate::messages::Reply;
use crate::record::Record;
use crate::value::Value;

/// Context of one input: everything its handling needs beside the replica itself.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) value: &'a mut dyn Value,
    pub(super) outputs: &'a mut Vec<Output>,
    pub(super) quiet: bool,
    /// Room for records on their way into the log.
    pub(super) held: Vec<Arc<Record>>,
}

impl<'a> Step<'a> {
    pub(super) fn new(now: Now, value: &'a mut dyn Value, outputs: &'a mut Vec<Output>, quiet: bool) -> Self {
        Self { now, value, outputs, quiet, held: Vec::new() }
    }

    pub(super) fn reply(&mut self, to: ReplyTo, reply: Reply) {
        self.outputs.push(Output::Reply(to, reply));
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push(Output::Notice(notice));
    }

    /// Tells of one record among many, if anybody listens.
    pub(super) fn detail(&mut self, notice: impl FnOnce() -> Notice) {
        if !self.quiet {
            self.notice(notice());
        }
    }
}
