//! Which side of a connection has gone without a word.

use super::{Connection, Stage};
use crate::{close::Side, vanished::Vanished};

impl Connection {
    /// The side whose peer should have answered for as long as one that is idle may be silent: until the
    /// first keepalive, and three more.
    pub(crate) fn lost(&self, vanished: &Vanished) -> Option<Side> {
        let Stage::Served(served) = &self.stage else {
            return None;
        };
        let patience = self.serving.listener.keepalive * 4;
        let is_lost = |socket| vanished.silence(socket).is_some_and(|it| it >= patience);
        if is_lost(&self.client.socket) {
            Some(Side::Client)
        } else if is_lost(&served.upstream.socket) {
            Some(Side::Upstream)
        } else {
            None
        }
    }
}
