//! What types with a JSON form of their own look like in the description of the API. The others derive it.

use std::borrow::Cow;

use utoipa::openapi::schema::{AdditionalProperties, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Object, RefOr};
use utoipa::{PartialSchema, ToSchema};

use crate::id::{AttachmentId, CorrelationId, HostId, LaneId, PoolTreeId, RunId, WorkerId, WorkspaceId};
use crate::name::{MAX_LENGTH, Name};
use crate::os_text::OsText;

fn text(description: &str, pattern: String) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .build()
}

macro_rules! ids {
    ($($id:ident: $what:literal;)*) => {$(
        impl PartialSchema for $id {
            fn schema() -> RefOr<Schema> {
                // 26 Crockford base-32 digits, of which the first is at most 7: 128 bits.
                let pattern = format!("^{}_[0-7][0-9A-HJKMNP-TV-Z]{{25}}$", $id::PREFIX);
                Schema::from(text($what, pattern)).into()
            }
        }

        impl ToSchema for $id {
            fn name() -> Cow<'static, str> {
                stringify!($id).into()
            }
        }
    )*};
}

ids! {
    HostId: "The id of a machine with a Laneway home.";
    WorkspaceId: "The id of a repository.";
    LaneId: "The id of a lane.";
    WorkerId: "The id of a worker or task.";
    RunId: "The id of a run.";
    AttachmentId: "The id of somebody's use of a lane.";
    PoolTreeId: "The id of a tree that is kept ready.";
    CorrelationId: "The id of a request.";
}

impl PartialSchema for Name {
    fn schema() -> RefOr<Schema> {
        let pattern = format!("^[a-z0-9][a-z0-9._-]{{0,{}}}$", MAX_LENGTH - 1);
        let what = "A name, without `..` in it, a final `.` or `.lock`, and unlike an id.";
        Schema::from(text(what, pattern)).into()
    }
}

impl ToSchema for Name {
    fn name() -> Cow<'static, str> {
        "Name".into()
    }
}

impl PartialSchema for OsText {
    fn schema() -> RefOr<Schema> {
        let encoded = ObjectBuilder::new()
            .property("base64", ObjectBuilder::new().schema_type(Type::String))
            .required("base64")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        let both = OneOfBuilder::new()
            .description(Some("Text of the operating system; what is not UTF-8 is told in base64."))
            .item(ObjectBuilder::new().schema_type(Type::String))
            .item(encoded);
        Schema::from(both.build()).into()
    }
}

impl ToSchema for OsText {
    fn name() -> Cow<'static, str> {
        "OsText".into()
    }
}
