//! The names under which guests find the host's functions: each interface once for each version of the contract that is served.
//!
//! A minor version only adds. So a function is the same in all versions that have it, and what an older version did not have is not
//! looked for by a component that was built against it. `bindgen!` can link one version only, and would make each older one a
//! second set of traits and types; so the functions are linked here by hand. wasmtime compares the types of each with what
//! the component expects, whatever is written here.
//!
//! What is asynchronous may have to ask a broker or a store.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, LinkerInstance};

use crate::bindings::tidemill::plugin::{config, emit, host, log, read_model, state, types};
use crate::component::{PACKAGE, SERVED};
use crate::guest::Guest;

type Store<'a> = StoreContextMut<'a, Guest>;
type Done = wasmtime::Result<()>;
/// Offers the functions of an interface.
type Offer = fn(LinkerInstance<'_, Guest>) -> Done;

/// Offers everything in the contract, in each version.
pub(super) fn contract(linker: &mut Linker<Guest>) -> Done {
    let interfaces: [(&str, Offer); 7] = [
        ("types", |_| Ok(())),
        ("emit", emit),
        ("state", state),
        ("read-model", read_model),
        ("log", log),
        ("config", config),
        ("host", host),
    ];
    for version in SERVED {
        for (name, functions) in interfaces {
            functions(linker.instance(&format!("{PACKAGE}/{name}@{version}"))?)?;
        }
    }
    Ok(())
}

fn emit(mut it: LinkerInstance<'_, Guest>) -> Done {
    use emit::{Host, Outgoing};
    it.func_wrap("emit", |mut guest: Store<'_>, (event,): (Outgoing,)| Ok((Host::emit(guest.data_mut(), event),)))
}

fn state(mut it: LinkerInstance<'_, Guest>) -> Done {
    use state::Host;
    type Value = Option<Vec<u8>>;
    it.func_wrap_async("get", |mut guest: Store<'_>, (key,): (String,)| {
        Box::new(async move { Ok((Host::get(guest.data_mut(), key).await,)) })
    })?;
    it.func_wrap_async("put", |mut guest: Store<'_>, (key, value): (String, Vec<u8>)| {
        Box::new(async move { Ok((Host::put(guest.data_mut(), key, value).await,)) })
    })?;
    it.func_wrap_async("delete", |mut guest: Store<'_>, (key,): (String,)| {
        Box::new(async move { Ok((Host::delete(guest.data_mut(), key).await,)) })
    })?;
    it.func_wrap_async("compare-and-set", |mut guest: Store<'_>, (key, expected, value): (String, Value, Value)| {
        Box::new(async move { Ok((Host::compare_and_set(guest.data_mut(), key, expected, value).await,)) })
    })?;
    it.func_wrap_async("list", |mut guest: Store<'_>, (prefix, after, limit): (String, Option<String>, u32)| {
        Box::new(async move { Ok((Host::list(guest.data_mut(), prefix, after, limit).await,)) })
    })
}

fn read_model(mut it: LinkerInstance<'_, Guest>) -> Done {
    use read_model::Host;
    type Find = (String, String, Vec<u8>, Option<String>, u32);
    it.func_wrap_async("get", |mut guest: Store<'_>, (collection, key): (String, String)| {
        Box::new(async move { Ok((Host::get(guest.data_mut(), collection, key).await,)) })
    })?;
    it.func_wrap("put", |mut guest: Store<'_>, (collection, key, body): (String, String, Vec<u8>)| {
        Ok((Host::put(guest.data_mut(), collection, key, body),))
    })?;
    it.func_wrap("delete", |mut guest: Store<'_>, (collection, key): (String, String)| {
        Ok((Host::delete(guest.data_mut(), collection, key),))
    })?;
    it.func_wrap_async("find", |mut guest: Store<'_>, (collection, field, value, after, limit): Find| {
        Box::new(async move { Ok((Host::find(guest.data_mut(), collection, field, value, after, limit).await,)) })
    })
}

fn log(mut it: LinkerInstance<'_, Guest>) -> Done {
    use log::{Host, Level};
    use types::AttributeResult;
    it.func_wrap("write", |mut guest: Store<'_>, (level, message, fields): (Level, String, Vec<AttributeResult>)| {
        Host::write(guest.data_mut(), level, message, fields);
        Ok(())
    })
}

fn config(mut it: LinkerInstance<'_, Guest>) -> Done {
    use config::Host;
    it.func_wrap("get", |mut guest: Store<'_>, (key,): (String,)| Ok((Host::get(guest.data_mut(), key),)))?;
    it.func_wrap("keys", |mut guest: Store<'_>, (): ()| Ok((Host::keys(guest.data_mut()),)))
}

fn host(mut it: LinkerInstance<'_, Guest>) -> Done {
    use host::Host;
    it.func_wrap("now", |mut guest: Store<'_>, (): ()| Ok((Host::now(guest.data_mut())?,)))?;
    it.func_wrap("stable-id", |mut guest: Store<'_>, (name,): (String,)| {
        Ok((Host::stable_id(guest.data_mut(), name)?,))
    })?;
    it.func_wrap("time-left", |mut guest: Store<'_>, (): ()| Ok((Host::time_left(guest.data_mut())?,)))?;
    it.func_wrap("random", |mut guest: Store<'_>, (length,): (u32,)| Ok((Host::random(guest.data_mut(), length)?,)))
}
