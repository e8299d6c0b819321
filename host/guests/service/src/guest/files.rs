//! Behaviours that take files and threads of the host, in the first mounted directory.

use std::{cell::RefCell, collections::BTreeMap, mem::forget, rc::Rc};

use spin_sdk::{
    wasip3::filesystem::{
        preopens::get_directories,
        types::{Descriptor, DescriptorFlags, OpenFlags, PathFlags},
    },
    wit_bindgen,
};

use super::clock::wait;

/// Carries out a behaviour with a number and a second argument. Returns the result, if the host lets it end.
pub(super) async fn act(what: &str, argument: &str) -> Option<String> {
    let (number, rest) = argument.split_once('/').unwrap_or((argument, ""));
    let number = number.parse().unwrap_or(0);
    let (directory, _) = get_directories().swap_remove(0);
    Some(match what {
        "listings" => listings(&directory, number).await,
        "descriptors" => descriptors(&directory, number, rest).await,
        "streams-of-files" => streams(&directory, number, rest).await,
        "stats" | "renames" => call(what, directory, number, rest.parse().unwrap_or(0)).await,
        _ => return None,
    })
}

/// Begins listings and reads the last one only. The others stay open.
async fn listings(directory: &Descriptor, number: usize) -> String {
    let mut listings: Vec<_> = (0..number).map(|_| directory.read_directory()).collect();
    let Some((entries, result)) = listings.pop() else { return String::new() };
    forget(listings);
    let entries = entries.collect().await;
    format!("{} {:?}", entries.len(), result.await)
}

/// Opens a file, until the host refuses. The descriptors stay open.
async fn descriptors(directory: &Descriptor, number: usize, path: &str) -> String {
    for opened in 0..number {
        match open(directory, path).await {
            Ok(file) => forget(file),
            Err(error) => return format!("{opened} {error}"),
        }
    }
    format!("{number} all")
}

/// Begins to read a file, until the host refuses. The streams stay open.
async fn streams(directory: &Descriptor, number: usize, path: &str) -> String {
    let Ok(file) = open(directory, path).await else { return String::new() };
    for opened in 0..number {
        let (mut stream, result) = file.read_via_stream(0);
        let (_, bytes) = stream.read(Vec::with_capacity(1)).await;
        if bytes.is_empty() {
            return format!("{opened} {:?}", result.await);
        }
        forget((stream, result));
    }
    format!("{number} all")
}

async fn open(directory: &Descriptor, path: &str) -> Result<Descriptor, String> {
    let flags = (PathFlags::empty(), OpenFlags::empty(), DescriptorFlags::READ);
    directory.open_at(flags.0, path.to_owned(), flags.1, flags.2).await.map_err(|error| format!("{error:?}"))
}

/// Calls with paths of `length` bytes, many at once. Returns how often which error came.
async fn call(what: &str, directory: Descriptor, number: usize, length: usize) -> String {
    let directory = Rc::new(directory);
    let errors = Rc::new(RefCell::new(BTreeMap::new()));
    for at in 0..number {
        let (directory, errors) = (directory.clone(), errors.clone());
        // The host refuses to rename, but not before the calls that take time have begun.
        let renames = what == "renames" && at > 200;
        wit_bindgen::spawn(async move {
            let path = "x".repeat(length);
            let error = match renames {
                true => directory.rename_at(path.clone(), &directory, path).await.err(),
                false => directory.stat_at(PathFlags::empty(), path).await.err(),
            };
            let error = error.map_or_else(String::new, |error| format!("{error:?}"));
            *errors.borrow_mut().entry(error).or_insert(0) += 1;
        });
    }
    while errors.borrow().values().sum::<usize>() < number {
        wait(1).await;
    }
    let errors = errors.borrow();
    format!("{errors:?}")
}
