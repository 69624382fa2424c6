//! What a guest says of itself, and what it makes of the columns of a class.
use offloom_rows::{DataType, Schema};
use offloom_sandbox::{
    About, Declared, ExporterGuest, Guest, GuestError, Reach, Sandbox, TransformGuest,
};
use offloom_verify::{FileColumn, columns_of_empty_file};
use serde::Serialize;
use utoipa::ToSchema;

use super::catalog::{Guests, GuestsError, Resolved};

/// The class whose columns stand for those of every class.
const EXAMPLE: &str = "Example";

/// What a guest says and does.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = GuestDetails)]
pub struct Details {
    /// SHA-256 of the component.
    pub digest: String,
    /// `exporter` or `transform`.
    pub kind: String,
    /// Version of the contract.
    contract: String,
    /// Size of the component.
    size_bytes: u64,
    /// The interfaces that it imports.
    imports: Vec<String>,
    /// What it does.
    summary: String,
    /// The options that it knows.
    options: Vec<KnownOptionBody>,
    /// The format of its files, without options; absent for transforms, and if it refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    format: Option<FormatBody>,
    /// The columns that it makes of those of a Weaviate class with tenants, without options; absent if they
    /// cannot be known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    columns: Option<Vec<ColumnBody>>,
    /// The columns that a transform reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reads: Option<Vec<String>>,
    /// Why it does nothing without options.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refusal: Option<String>,
}

/// An option of a guest.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KnownOption)]
struct KnownOptionBody {
    /// Its key. One that ends in `*` stands for all that begin as it does.
    key: String,
    /// Its values and what it does.
    summary: String,
    /// Whether its values are shown nowhere.
    secret: bool,
}

/// The format of an exporter's files.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = FileFormat)]
struct FormatBody {
    /// Such as `parquet`.
    name: String,
    /// File name extension without a dot.
    extension: String,
    /// Media type.
    media_type: String,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Column)]
struct ColumnBody {
    /// Its name.
    name: String,
    /// What it holds.
    #[serde(rename = "type")]
    kind: String,
    /// Whether a row may have no value.
    nullable: bool,
}

impl Guests {
    /// What a guest says and does.
    ///
    /// # Errors
    /// [`GuestsError`].
    pub async fn details(&self, resolved: &Resolved) -> Result<Details, GuestsError> {
        let component = self.component(resolved).await?;
        let declared = self.sandbox().declared(&component)?;
        Ok(of_guest(&resolved.guest, declared, component.len()).await)
    }
}

/// What a component says and does, which is checked and compiled first.
///
/// # Errors
/// It is no guest.
pub async fn of_component(sandbox: &Sandbox, component: Vec<u8>) -> Result<Details, GuestsError> {
    let declared = sandbox.declared(&component)?;
    let (sandbox, size) = (sandbox.clone(), component.len());
    let guest = tokio::task::spawn_blocking(move || sandbox.load(&component)).await??;
    Ok(of_guest(&guest, declared, size).await)
}

async fn of_guest(guest: &Guest, declared: Declared, size: usize) -> Details {
    let mut details = Details {
        digest: guest.digest().to_owned(),
        kind: declared.kind.to_string(),
        contract: offloom_sandbox::CONTRACT_VERSION.to_owned(),
        size_bytes: size as u64,
        imports: declared.imports,
        summary: String::new(),
        options: Vec::new(),
        format: None,
        columns: None,
        reads: None,
        refusal: None,
    };
    let described = match guest {
        Guest::Exporter(guest) => of_exporter(guest, &mut details).await,
        Guest::Transform(guest) => of_transform(guest, &mut details).await,
    };
    if let Err(error) = described {
        details.refusal = Some(error.to_string());
    }
    details
}

fn say(details: &mut Details, about: About) {
    details.summary = about.summary;
    let option = |option: offloom_sandbox::KnownOption| KnownOptionBody {
        key: option.key,
        summary: option.summary,
        secret: option.secret,
    };
    details.options = about.options.into_iter().map(option).collect();
}

async fn of_exporter(guest: &ExporterGuest, details: &mut Details) -> Result<(), GuestError> {
    let run = guest.for_export();
    say(details, run.about().await?);
    let options = Vec::new();
    let format = run.describe(&options).await?;
    let block_bytes = format.block_bytes;
    details.format = Some(FormatBody {
        name: format.name,
        extension: format.extension,
        media_type: format.media_type,
    });
    let mut encoder =
        run.open(&Schema::of_class(EXAMPLE, true, None), &options, block_bytes).await?;
    let prologue = encoder.prologue().await?;
    let epilogue = encoder.assemble(Vec::new()).await?;
    // Of another format than Parquet, the columns are not known.
    let columns = columns_of_empty_file(prologue.len() as u64, &epilogue);
    details.columns = columns.ok().map(|columns| {
        let body = |column: FileColumn| ColumnBody {
            name: column.name,
            kind: column.kind,
            nullable: column.nullable,
        };
        columns.into_iter().map(body).collect()
    });
    Ok(())
}

async fn of_transform(guest: &TransformGuest, details: &mut Details) -> Result<(), GuestError> {
    let run = guest.for_export();
    say(details, run.about().await?);
    let input = Schema::of_class(EXAMPLE, true, None);
    let transformer = run.open(&input, &Vec::new(), Reach::Class).await?;
    details.reads = Some(transformer.reads(&input).map(str::to_owned).collect());
    let columns = transformer.output().fields.iter().map(|field| ColumnBody {
        name: field.name.clone(),
        kind: type_name(&field.data_type).to_owned(),
        nullable: field.nullable,
    });
    details.columns = Some(columns.collect());
    Ok(())
}

/// As the contract names it (`wit/types.wit`).
fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "boolean",
        DataType::Int64 => "int64",
        DataType::Float64 => "float64",
        DataType::TimestampMillis => "timestamp-millis",
        DataType::Uuid => "uuid",
        DataType::Utf8 => "utf8",
        DataType::Json => "json",
        DataType::Binary => "binary",
        DataType::Vector(_) => "vector",
        DataType::NamedVectors(_) => "named-vectors",
        DataType::NamedMultiVectors(_) => "named-multi-vectors",
    }
}
