//! The journals of running exports in the state database: what is needed to carry them on.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use async_trait::async_trait;
use offloom_export::{Change, JournalStore};
use offloom_protocol::names::ExportId;
use offloom_protocol::upload_log::LogError;
use redb::{ReadableTable, TableDefinition};
use tokio::sync::oneshot;

use crate::state_database::{StateDatabase, StateError, StateTable};

/// Key `<backend>/<id>/<record>`, value a record as JSON.
const JOURNALS: StateTable = TableDefinition::new("journals");

/// How long records that may come later wait for others.
const LATER: Duration = Duration::from_secs(1);

/// The journals. Cheap to clone; one thread writes, and many records in one transaction.
#[derive(Clone)]
pub struct JournalDatabase {
    database: StateDatabase,
    writer: Sender<Order>,
}

impl fmt::Debug for JournalDatabase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("JournalDatabase").finish_non_exhaustive()
    }
}

type Done = oneshot::Sender<Result<(), LogError>>;

/// What the thread is asked for.
enum Order {
    /// Records to write; who waits for them.
    Write(Vec<Change>, Option<Done>),
    /// All records whose keys begin so are removed.
    RemoveAll(String, Done),
}

impl JournalDatabase {
    /// The journals in an open database. Blocking.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn new(database: StateDatabase) -> Result<JournalDatabase, StateError> {
        database.create_table(JOURNALS)?;
        let (writer, orders) = channel();
        let writing = database.clone();
        // It ends with the last of the senders.
        std::thread::spawn(move || write_all(&writing, &orders));
        Ok(JournalDatabase { database, writer })
    }

    /// The journal of an export.
    pub fn of(&self, backend: &str, id: &ExportId) -> Arc<dyn JournalStore> {
        let prefix = prefix(backend, id);
        Arc::new(OneJournal { prefix, writer: self.writer.clone() })
    }

    /// The records of an export, by key. Blocking.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn records(
        &self,
        backend: &str,
        id: &ExportId,
    ) -> Result<BTreeMap<String, Vec<u8>>, StateError> {
        let prefix = prefix(backend, id);
        self.database.read(JOURNALS, |table| {
            let mut records = BTreeMap::new();
            for record in table.range(prefix.as_str()..)? {
                let (key, value) = record?;
                let Some(key) = key.value().strip_prefix(&prefix) else { break };
                records.insert(key.to_owned(), value.value().to_vec());
            }
            Ok(records)
        })
    }

    /// The exports that have records, as `<backend>/<id>`. Blocking.
    ///
    /// # Errors
    /// [`StateError::Database`].
    pub fn exports(&self) -> Result<BTreeSet<String>, StateError> {
        self.database.read(JOURNALS, |table| {
            let mut exports = BTreeSet::new();
            for record in table.iter()? {
                let (key, _) = record?;
                let mut parts = key.value().splitn(3, '/');
                if let (Some(backend), Some(id)) = (parts.next(), parts.next()) {
                    exports.insert(format!("{backend}/{id}"));
                }
            }
            Ok(exports)
        })
    }
}

fn prefix(backend: &str, id: &ExportId) -> String {
    format!("{backend}/{id}/")
}

/// The journal of one export.
struct OneJournal {
    prefix: String,
    writer: Sender<Order>,
}

impl fmt::Debug for OneJournal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("OneJournal").field(&self.prefix).finish()
    }
}

impl OneJournal {
    fn keyed(&self, changes: Vec<Change>) -> Vec<Change> {
        let key = |(key, value)| (format!("{}{key}", self.prefix), value);
        changes.into_iter().map(key).collect()
    }

    async fn order(&self, order: impl FnOnce(Done) -> Order) -> Result<(), LogError> {
        let (done, written) = oneshot::channel();
        let stopped = || LogError("the program ends".to_owned());
        self.writer.send(order(done)).map_err(|_| stopped())?;
        written.await.map_err(|_| stopped())?
    }
}

#[async_trait]
impl JournalStore for OneJournal {
    async fn write(&self, changes: Vec<Change>) -> Result<(), LogError> {
        let changes = self.keyed(changes);
        self.order(|done| Order::Write(changes, Some(done))).await
    }

    fn write_later(&self, changes: Vec<Change>) {
        // Without the thread the program ends, and what comes later is lost as in a crash.
        let _ = self.writer.send(Order::Write(self.keyed(changes), None));
    }

    async fn remove_all(&self) -> Result<(), LogError> {
        let prefix = self.prefix.clone();
        self.order(|done| Order::RemoveAll(prefix, done)).await
    }
}

/// Carries orders out until nobody can give one: those that somebody waits for at once, with all that
/// have come by then.
fn write_all(database: &StateDatabase, orders: &Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let mut batch = vec![first];
        let is_awaited = |order: &Order| !matches!(order, Order::Write(_, None));
        while !batch.last().is_some_and(is_awaited) {
            match orders.recv_timeout(LATER) {
                Ok(order) => batch.push(order),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        batch.extend(orders.try_iter());
        let written = write(database, &batch).map_err(|error| LogError(error.to_string()));
        if let Err(error) = &written {
            tracing::error!(%error, "the journal cannot be written");
        }
        for order in batch {
            if let Order::Write(_, Some(done)) | Order::RemoveAll(_, done) = order {
                // Who waited may be gone.
                let _ = done.send(written.clone());
            }
        }
    }
}

fn write(database: &StateDatabase, batch: &[Order]) -> Result<(), StateError> {
    database.write(JOURNALS, |table| {
        for order in batch {
            match order {
                Order::Write(changes, _) => {
                    for (key, value) in changes {
                        match value {
                            Some(value) => drop(table.insert(key.as_str(), value.as_slice())?),
                            None => drop(table.remove(key.as_str())?),
                        }
                    }
                }
                Order::RemoveAll(prefix, _) => {
                    // '0' comes after '/'.
                    let end = format!("{}0", prefix.trim_end_matches('/'));
                    table.retain_in(prefix.as_str()..end.as_str(), |_, _| false)?;
                }
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> ExportId {
        ExportId::parse(text).unwrap()
    }

    fn value(text: &str) -> Option<Vec<u8>> {
        Some(text.as_bytes().to_vec())
    }

    #[tokio::test]
    async fn records_of_exports_are_apart_and_survive_the_process() {
        let state = tempfile::tempdir().unwrap();
        let open = || JournalDatabase::new(StateDatabase::open(state.path()).unwrap()).unwrap();
        let journals = open();
        let (one, other) = (journals.of("s3", &id("a")), journals.of("s3", &id("a-b")));
        one.write(vec![("plan".into(), value("1")), ("class/A".into(), value("2"))]).await.unwrap();
        one.write_later(vec![("unit/A/1".into(), value("3"))]);
        other.write(vec![("plan".into(), value("4"))]).await.unwrap();
        one.write(vec![("class/A".into(), None)]).await.unwrap();
        drop((one, other, journals));
        // The thread lets go of the file when it has ended.
        let journals = loop {
            match StateDatabase::open(state.path()) {
                Ok(database) => break JournalDatabase::new(database).unwrap(),
                Err(StateError::InUse { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        };
        let records = journals.records("s3", &id("a")).unwrap();
        assert_eq!(records.keys().collect::<Vec<_>>(), ["plan", "unit/A/1"]);
        assert_eq!(journals.exports().unwrap().len(), 2);
        journals.of("s3", &id("a")).remove_all().await.unwrap();
        assert!(journals.records("s3", &id("a")).unwrap().is_empty());
        assert_eq!(journals.records("s3", &id("a-b")).unwrap().len(), 1);
    }
}
