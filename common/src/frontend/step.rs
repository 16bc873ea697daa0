//! Context of one input: everything its handling needs beside the frontend itself.

use super::batch::is_member;
use super::retired::OWN_QUESTION;
use super::{Notice, Output};
use crate::clock::Now;
use crate::edge::{ClientReply, FrontendError};

/// Context of one input: everything its handling needs beside the frontend itself.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) outputs: &'a mut Vec<Output>,
    /// Answers to operations of batches, to be joined.
    pub(super) members: Vec<(u64, Result<ClientReply, FrontendError>)>,
    /// By when an operation of a batch has its answer.
    pub(super) deadline_ms: Option<u64>,
    /// Whether this frontend's own question has its answer.
    pub(super) is_own_question_answered: bool,
}

impl<'a> Step<'a> {
    pub(super) fn new(now: Now, outputs: &'a mut Vec<Output>) -> Self {
        Self { now, outputs, members: Vec::new(), deadline_ms: None, is_own_question_answered: false }
    }

    pub(super) fn answer(&mut self, client: u64, answer: Result<ClientReply, FrontendError>) {
        if client == OWN_QUESTION {
            self.is_own_question_answered = true;
        } else if is_member(client) {
            self.members.push((client, answer));
        } else {
            self.outputs.push(Output::Answer(client, answer));
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.outputs.push(Output::Notice(notice));
    }
}
