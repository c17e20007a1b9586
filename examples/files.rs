//! Uploads, downloads, and bodies of bytes.
//!
//! ```text
//! cargo run --example files -- run
//! curl -F file=@Cargo.toml -F note="the workspace" http://127.0.0.1:8080/api/v1/files
//! curl -OJ http://127.0.0.1:8080/api/v1/files/Cargo.toml
//! curl -X PUT --data-binary @README.md http://127.0.0.1:8080/api/v1/files/readme.md
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use framex::prelude::*;

/// Keeps files in memory.
#[derive(Default)]
struct Files {
    files: Mutex<BTreeMap<String, File>>,
}

struct File {
    bytes: Bytes,
    note: Option<String>,
}

/// What is told about a file.
#[derive(Serialize, ToSchema)]
struct Entry {
    name: String,
    size: usize,
    note: Option<String>,
}

#[on_register(plugin = "files")]
impl Files {
    /// Stores files.
    ///
    /// An `Upload` makes the body multipart; the other arguments are its text
    /// fields. `Upload` is one file, `Option<Upload>` perhaps one, `Vec<Upload>`
    /// any number. `server.max_body_size` bounds all of them together.
    #[on_request(post, "/files")]
    async fn upload(&self, file: Vec<Upload>, note: Option<String>) -> Result<Vec<Entry>> {
        let mut stored = Vec::new();
        for upload in file {
            // A client can call its file what it likes: check before use.
            let name = upload.filename.clone();
            if name.is_empty() || name.contains(['/', '\\']) {
                return Err(Error::bad_request("a file needs a name without slashes"));
            }
            stored.push(self.store(name, upload.bytes().await?, note.clone()));
        }
        Ok(stored)
    }

    /// Stores the body as it is, whatever it is.
    #[on_request(put, "/files/{name}", idempotent)]
    async fn replace(&self, name: String, #[body] bytes: Bytes) -> Result<Response> {
        let entry = self.store(name, bytes, None);
        // A `Response` has its own status and headers, and no envelope.
        Response::json(StatusCode::CREATED, &entry)
    }

    /// Gives a file back, to be saved under its name.
    #[on_request(get, "/files/{name}", idempotent)]
    async fn download(&self, name: String) -> Result<Response> {
        let files = self.files();
        let file = files
            .get(&name)
            .ok_or_else(|| Error::not_found(format!("there is no file `{name}`")))?;
        let bytes = file.bytes.clone();
        Ok(Response::download(&name, "application/octet-stream", bytes))
    }

    /// Every file.
    #[on_request(get, "/files", idempotent)]
    async fn list(&self) -> Vec<Entry> {
        let files = self.files();
        let entry = |(name, file): (&String, &File)| Entry {
            name: name.clone(),
            size: file.bytes.len(),
            note: file.note.clone(),
        };
        files.iter().map(entry).collect()
    }

    fn store(&self, name: String, bytes: Bytes, note: Option<String>) -> Entry {
        let entry = Entry {
            name: name.clone(),
            size: bytes.len(),
            note: note.clone(),
        };
        self.files().insert(name, File { bytes, note });
        entry
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

framex::main!(Files);
