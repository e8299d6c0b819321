//! `wasi:filesystem`, which is wasmtime's, within what a component may use of the host:
//!
//! - Open files, and uses of each ([`OpenFiles`]): beyond the bound, the error is `insufficient-memory`.
//! - Threads. Calls of `0.3` run on threads of the blocking pool, and a guest may have many calls in flight. Beyond the
//!   bound, a call waits. What it keeps meanwhile counts against the budget of the instance's handles.
//! - Listings of directories (`listing.rs`).
//!
//! Files are read-only ([`crate::guest`]), so that functions that write fail at once.

use std::{
    collections::VecDeque,
    io, iter,
    pin::Pin,
    task::{Context, Poll},
};

use futures::StreamExt as _;
use rustix::{fs::FileType, io::Errno};
use tokio::sync::oneshot;
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{
        Access, Accessor, Destination, FutureReader, HasData, Linker, LinkerInstance, Resource, ResourceType,
        StreamProducer, StreamReader, StreamResult, VecBuffer,
    },
};
use wasmtime_wasi::{
    filesystem::{Descriptor, WasiFilesystem, WasiFilesystemCtxView, WasiFilesystemView as _},
    p2::{DynInputStream, bindings::filesystem::types as p2},
    p3::{
        bindings::filesystem::{
            preopens,
            types::{self as p3, HostDescriptorWithStore},
        },
        filesystem::{FilesystemError, FilesystemResult},
    },
};

use super::listing::{self, Batches, Entry};
use crate::{guest::Guest, host_bytes::INPUT_BYTES};

/// The version that wasmtime links. wasmtime also gives it to components that import earlier releases.
const TYPES_P2: &str = "wasi:filesystem/types@0.2.12";
/// The most bytes of a path: Linux's `PATH_MAX`.
const MAX_PATH: usize = 4096;

type Store<'a> = StoreContextMut<'a, Guest>;
type Fd = Resource<Descriptor>;

/// Adds the functions of `0.3`, and replaces those of `0.2` in a linker that has wasmtime's.
pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    preopens::add_to_linker::<_, WasiFilesystem>(linker, Guest::filesystem)?;
    p3::add_to_linker::<_, Bounded>(linker, Guest::filesystem)?;
    linker.allow_shadowing(true);
    let mut p2 = linker.instance(TYPES_P2)?;
    add_p2_files(&mut p2)?;
    add_p2_listings(&mut p2)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// # Errors
/// A path is longer than any path of the system.
fn check_paths(paths: &[&str]) -> io::Result<()> {
    match paths.iter().all(|path| path.len() <= MAX_PATH) {
        true => Ok(()),
        false => Err(Errno::NAMETOOLONG.into()),
    }
}

/// Counts a file that was opened. Closes the file if the component may have no more.
fn count(guest: &mut Guest, opened: Fd) -> wasmtime::Result<io::Result<Fd>> {
    let files = guest.files().clone();
    let table = guest.filesystem().table;
    let file = match table.get(&opened)? {
        Descriptor::File(file) => &file.file,
        Descriptor::Dir(directory) => &directory.dir,
    };
    Ok(match files.add(file) {
        Ok(()) => Ok(opened),
        Err(error) => {
            table.delete(opened)?;
            Err(error)
        }
    })
}

/// Begins to list a directory.
fn list(guest: &mut Guest, fd: &Fd) -> wasmtime::Result<io::Result<Batches>> {
    let directory = match guest.filesystem().table.get(fd)? {
        Descriptor::File(_) => return Ok(Err(Errno::NOTDIR.into())),
        Descriptor::Dir(directory) => directory.dir.clone(),
    };
    Ok(listing::batches(directory, guest.files()))
}

/// Like [`WasiFilesystem`], within the bounds.
struct Bounded;

impl HasData for Bounded {
    type Data<'a> = WasiFilesystemCtxView<'a>;
}

/// The same access for wasmtime's functions.
fn of_wasmtime<'a>(store: &'a mut Access<'_, Guest, Bounded>) -> Access<'a, Guest, WasiFilesystem> {
    Access::<Guest, WasiFilesystem>::new(store.as_context_mut(), Guest::filesystem)
}

/// Waits until a call with these paths may begin, and calls wasmtime's function.
macro_rules! call {
    ($store:ident, $name:ident($fd:ident $(, $argument:ident)*) $(, $path:ident)*) => {{
        check_paths(&[$(&$path),*])?;
        let bytes = [$($path.len()),*].iter().sum();
        let begun = $store.with(|mut store| {
            let guest = store.data_mut();
            Ok::<_, wasmtime::Error>((guest.keep_in_flight(bytes)?, guest.files().clone()))
        });
        let (_kept, files) = begun.map_err(FilesystemError::trap)?;
        let _call = files.call().await;
        let store = $store.with_getter::<WasiFilesystem>(Guest::filesystem);
        WasiFilesystem::$name(&store, $fd $(, $argument)*).await
    }};
}

/// Defines functions that wait for the file system. The names after `;` are paths.
macro_rules! calls {
    ($($name:ident($($argument:ident: $of:ty),* $(; $path:ident)*) -> $answer:ty,)*) => {
        $(async fn $name(
            store: &Accessor<Guest, Self>,
            fd: Fd,
            $($argument: $of),*
        ) -> FilesystemResult<$answer> {
            call!(store, $name(fd $(, $argument)*) $(, $path)*)
        })*
    };
}

type Bytes = StreamReader<u8>;
type Outcome = FutureReader<Result<(), p3::ErrorCode>>;

impl HostDescriptorWithStore<Guest> for Bounded {
    calls! {
        advise(offset: u64, length: u64, advice: p3::Advice) -> (),
        sync_data() -> (),
        get_flags() -> p3::DescriptorFlags,
        get_type() -> p3::DescriptorType,
        set_size(size: u64) -> (),
        set_times(accessed: p3::NewTimestamp, modified: p3::NewTimestamp) -> (),
        sync() -> (),
        create_directory_at(path: String; path) -> (),
        stat() -> p3::DescriptorStat,
        stat_at(flags: p3::PathFlags, path: String; path) -> p3::DescriptorStat,
        set_times_at(
            flags: p3::PathFlags, path: String, accessed: p3::NewTimestamp, modified: p3::NewTimestamp; path
        ) -> (),
        link_at(flags: p3::PathFlags, path: String, to: Fd, new: String; path; new) -> (),
        readlink_at(path: String; path) -> String,
        remove_directory_at(path: String; path) -> (),
        rename_at(path: String, to: Fd, new: String; path; new) -> (),
        symlink_at(path: String, new: String; path; new) -> (),
        unlink_file_at(path: String; path) -> (),
        metadata_hash() -> p3::MetadataHashValue,
        metadata_hash_at(flags: p3::PathFlags, path: String; path) -> p3::MetadataHashValue,
    }

    async fn open_at(
        store: &Accessor<Guest, Self>,
        fd: Fd,
        path_flags: p3::PathFlags,
        path: String,
        open_flags: p3::OpenFlags,
        flags: p3::DescriptorFlags,
    ) -> FilesystemResult<Fd> {
        let opened = call!(store, open_at(fd, path_flags, path, open_flags, flags), path)?;
        let counted = store.with(|mut store| count(store.data_mut(), opened));
        Ok(counted.map_err(FilesystemError::trap)??)
    }

    async fn is_same_object(store: &Accessor<Guest, Self>, fd: Fd, other: Fd) -> wasmtime::Result<bool> {
        let files = store.with(|mut store| store.data_mut().files().clone());
        let _call = files.call().await;
        WasiFilesystem::is_same_object(&store.with_getter::<WasiFilesystem>(Guest::filesystem), fd, other)
            .await
    }

    fn read_via_stream(
        mut store: Access<'_, Guest, Self>,
        fd: Fd,
        offset: u64,
    ) -> wasmtime::Result<(Bytes, Outcome)> {
        if let Err(full) = store.data_mut().files().check() {
            let stream = StreamReader::new(&mut store, iter::empty())?;
            return Ok((
                stream,
                FutureReader::new(&mut store, async move { wasmtime::error::Ok(Err(full.into())) })?,
            ));
        }
        WasiFilesystem::read_via_stream(of_wasmtime(&mut store), fd, offset)
    }

    fn write_via_stream(
        mut store: Access<'_, Guest, Self>,
        fd: Fd,
        data: Bytes,
        offset: u64,
    ) -> wasmtime::Result<Outcome> {
        WasiFilesystem::write_via_stream(of_wasmtime(&mut store), fd, data, offset)
    }

    fn append_via_stream(
        mut store: Access<'_, Guest, Self>,
        fd: Fd,
        data: Bytes,
    ) -> wasmtime::Result<Outcome> {
        WasiFilesystem::append_via_stream(of_wasmtime(&mut store), fd, data)
    }

    fn read_directory(
        mut store: Access<'_, Guest, Self>,
        fd: Fd,
    ) -> wasmtime::Result<(StreamReader<p3::DirectoryEntry>, Outcome)> {
        let (sender, receiver) = oneshot::channel();
        let stream = match list(store.data_mut(), &fd)? {
            Ok(batches) => StreamReader::new(&mut store, Entries { batches, result: Some(sender) })?,
            Err(error) => {
                let _ = sender.send(Err(error.into()));
                StreamReader::new(&mut store, iter::empty())?
            }
        };
        // A guest that reads no further sees no error.
        let result = async move { wasmtime::error::Ok(receiver.await.unwrap_or(Ok(()))) };
        Ok((stream, FutureReader::new(&mut store, result)?))
    }
}

/// A listing of `0.3`.
struct Entries {
    batches: Batches,
    result: Option<oneshot::Sender<Result<(), p3::ErrorCode>>>,
}

impl StreamProducer<Guest> for Entries {
    type Item = p3::DirectoryEntry;
    type Buffer = VecBuffer<p3::DirectoryEntry>;

    fn poll_produce<'a>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: Store<'a>,
        mut to: Destination<'a, Self::Item, Self::Buffer>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        // A guest that asks whether there are entries finds out when it reads.
        if to.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let batch = match self.batches.poll_next_unpin(cx) {
            Poll::Ready(batch) => batch,
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        let mut result = if batch.is_some() { None } else { Some(Ok(())) };
        let mut entries = Vec::new();
        for entry in batch.unwrap_or_default() {
            match entry {
                Ok(entry) => entries.push(entry.into()),
                Err(error) => {
                    result = Some(Err(error.into()));
                    break;
                }
            }
        }
        to.set_buffer(entries.into());
        let Some(result) = result else { return Poll::Ready(Ok(StreamResult::Completed)) };
        if let Some(sender) = self.result.take() {
            let _ = sender.send(result);
        }
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl From<Entry> for p3::DirectoryEntry {
    fn from(Entry { name, kind }: Entry) -> Self {
        let type_ = match kind {
            FileType::RegularFile => p3::DescriptorType::RegularFile,
            FileType::Directory => p3::DescriptorType::Directory,
            FileType::Symlink => p3::DescriptorType::SymbolicLink,
            // A directory with others is not mounted.
            _ => p3::DescriptorType::Other(None),
        };
        Self { type_, name }
    }
}

impl From<Entry> for p2::DirectoryEntry {
    fn from(Entry { name, kind }: Entry) -> Self {
        let type_ = match kind {
            FileType::RegularFile => p2::DescriptorType::RegularFile,
            FileType::Directory => p2::DescriptorType::Directory,
            FileType::Symlink => p2::DescriptorType::SymbolicLink,
            // A directory with others is not mounted.
            _ => p2::DescriptorType::Unknown,
        };
        Self { type_, name }
    }
}

/// A listing of `0.2`.
struct Listed {
    batches: Batches,
    /// Entries that the guest has not read.
    batch: VecDeque<io::Result<Entry>>,
}

/// A call of `0.2` has the instance for itself, so that an instance has one call in flight.
fn add_p2_files(to: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    use p2::{ErrorCode, Host, HostDescriptor};

    type Opening = (Fd, p2::PathFlags, String, p2::OpenFlags, p2::DescriptorFlags);
    type Reading = Result<Resource<DynInputStream>, ErrorCode>;

    to.func_wrap_async("[method]descriptor.open-at", |mut store: Store<'_>, opening: Opening| {
        Box::new(async move {
            let (fd, path_flags, path, open_flags, flags) = opening;
            let guest = store.data_mut();
            if let Err(error) = check_paths(&[&path]) {
                return Ok((Err(error.into()),));
            }
            let mut view = guest.filesystem();
            let opened =
                match HostDescriptor::open_at(&mut view, fd, path_flags, path, open_flags, flags).await {
                    Ok(opened) => count(guest, opened)?.map_err(ErrorCode::from),
                    Err(error) => Err(Host::convert_error_code(&mut view, error)?),
                };
            Ok((opened,))
        })
    })?;
    to.func_wrap(
        "[method]descriptor.read-via-stream",
        |mut store: Store<'_>, (fd, offset): (Fd, u64)| -> wasmtime::Result<(Reading,)> {
            let guest = store.data_mut();
            if let Err(full) = guest.files().check() {
                return Ok((Err(full.into()),));
            }
            guest.charge(INPUT_BYTES)?;
            let mut view = guest.filesystem();
            Ok((match HostDescriptor::read_via_stream(&mut view, fd, offset) {
                Ok(stream) => Ok(stream),
                Err(error) => Err(Host::convert_error_code(&mut view, error)?),
            },))
        },
    )
}

fn add_p2_listings(to: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Listing = Result<Resource<Listed>, p2::ErrorCode>;

    to.resource("directory-entry-stream", ResourceType::host::<Listed>(), |mut store: Store<'_>, rep| {
        store.data_mut().filesystem().table.delete(Resource::<Listed>::new_own(rep))?;
        Ok(())
    })?;
    to.func_wrap(
        "[method]descriptor.read-directory",
        |mut store: Store<'_>, (fd,): (Fd,)| -> wasmtime::Result<(Listing,)> {
            let guest = store.data_mut();
            Ok((match list(guest, &fd)? {
                Ok(batches) => {
                    Ok(guest.filesystem().table.push(Listed { batches, batch: VecDeque::new() })?)
                }
                Err(error) => Err(error.into()),
            },))
        },
    )?;
    to.func_wrap_async(
        "[method]directory-entry-stream.read-directory-entry",
        |mut store: Store<'_>, (listed,): (Resource<Listed>,)| {
            Box::new(async move {
                let listed = store.data_mut().filesystem().table.get_mut(&listed)?;
                if listed.batch.is_empty() {
                    listed.batch = listed.batches.next().await.unwrap_or_default().into();
                }
                let entry = listed.batch.pop_front().transpose();
                Ok((entry.map(|entry| entry.map(p2::DirectoryEntry::from)).map_err(p2::ErrorCode::from),))
            })
        },
    )
}
