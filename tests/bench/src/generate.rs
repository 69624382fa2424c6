//! `generate`: data directories that a real Weaviate opens and exports.
//!
//! The schema comes from a real server: it is started on an empty directory, is given the classes and the
//! tenants over REST, and is stopped. Then the objects are written where its shards lie.
use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use offloom_encoder::{Embeddings, NamedVector, Recipe, ShardWriter, Workload, write_recipes};
use offloom_test_parts::{Weaviate, WeaviateSettings};
use serde_json::{Value, json};

/// How many tenants one request adds.
const TENANTS_A_REQUEST: u64 = 1_000;

/// What `generate` writes.
#[derive(Args)]
pub struct Generate {
    /// Start from this workload; the other options change it.
    #[arg(long)]
    preset: Option<Preset>,
    /// Live objects of each class.
    #[arg(long)]
    objects: Option<u64>,
    /// How many classes, which differ in their objects alone.
    #[arg(long, default_value_t = 1)]
    classes: u64,
    /// Name of the class; with several, those after the first end in a number.
    #[arg(long)]
    class_name: Option<String>,
    /// Length of the unnamed vector; 0 for none.
    #[arg(long)]
    dimensions: Option<usize>,
    /// A named vector, NAME:DIMENSIONS; may be given several times.
    #[arg(long = "named", value_parser = named_vector)]
    named: Vec<NamedVector>,
    /// A named list of vectors, NAME:DIMENSIONSxCOUNT; may be given several times.
    #[arg(long = "multi", value_parser = multi_vector)]
    multi: Vec<NamedVector>,
    /// Where the components of vectors come from.
    #[arg(long)]
    embeddings: Option<Statistics>,
    /// Bytes of the properties of each object, as JSON.
    #[arg(long)]
    properties_bytes: Option<usize>,
    /// Of 100 objects, so many have an older version too.
    #[arg(long)]
    updates_percent: Option<u64>,
    /// For 100 live objects, so many deleted ones.
    #[arg(long)]
    deletes_percent: Option<u64>,
    /// Segments of each shard, beside its log.
    #[arg(long)]
    segments: Option<usize>,
    /// Makes the classes multi-tenant, with so many tenants that share the objects.
    #[arg(long)]
    tenants: Option<u64>,
    /// Other objects of the same shape.
    #[arg(long)]
    seed: Option<u64>,
    /// Start no server: DEST/data has no schema, and is read with DEST/schema.json.
    #[arg(long)]
    no_server: bool,
    /// An empty folder, or one that is not there: gets DEST/data and DEST/schema.json.
    dest: PathBuf,
}

/// A kind of objects that the project is measured with.
#[derive(Clone, Copy, ValueEnum)]
enum Preset {
    /// 120,000 objects, 1,536 dimensions, 1 KB of properties.
    W1,
    /// 300,000 objects without vectors, 500 bytes of properties.
    W2,
    /// 200,000 objects, 384 dimensions, 300 bytes of properties.
    W3,
    /// 1,000,000 objects without vectors, 60 bytes of properties.
    Small,
    /// 100,000 tenants of one object each, in logs alone.
    Tenants,
}

/// Where components come from.
#[derive(Clone, Copy, ValueEnum)]
enum Statistics {
    /// Independent normal numbers.
    Normal,
    /// Unit vectors of low rank in a narrow cone, as text models give them.
    Single,
    /// The same out of a model in half precision.
    Half,
}

fn named_vector(text: &str) -> Result<NamedVector, String> {
    let (name, dimensions) = text.rsplit_once(':').ok_or("not NAME:DIMENSIONS")?;
    let dimensions = dimensions.parse().map_err(|_| "the dimensions are no number")?;
    Ok(NamedVector { name: name.to_owned(), dimensions, vectors: None })
}

fn multi_vector(text: &str) -> Result<NamedVector, String> {
    let (vector, count) = text.rsplit_once('x').ok_or("not NAME:DIMENSIONSxCOUNT")?;
    let count = count.parse().map_err(|_| "the count is no number")?;
    Ok(NamedVector { vectors: Some(count), ..named_vector(vector)? })
}

impl Generate {
    /// Writes the directory.
    pub fn run(self) -> Result<()> {
        let dest = std::path::absolute(&self.dest)?;
        let is_empty = fs::read_dir(&dest).map_or(true, |mut entries| entries.next().is_none());
        ensure!(is_empty, "{} is not empty", dest.display());
        let recipes = self.recipes()?;
        if self.no_server {
            return Ok(write_recipes(&recipes, &dest)?);
        }
        let data = dest.join("data");
        fs::create_dir_all(&data)?;
        let classes: Vec<Value> = recipes.iter().map(class_definition).collect();
        let shards = shards_of_server(&data, &recipes, &classes)?;
        let schema = json!({ "classes": classes });
        fs::write(dest.join("schema.json"), format!("{schema:#}\n"))?;
        for (recipe, shards) in recipes.iter().zip(shards) {
            let spaces = recipe.spaces();
            for (tenant, shard) in (0..).zip(shards) {
                let folder = data.join(recipe.class_name.to_ascii_lowercase()).join(&shard);
                recipe.fill(&of_server(&folder, recipe)?, &spaces, tenant)?;
            }
        }
        Ok(())
    }

    fn recipes(&self) -> Result<Vec<Recipe>> {
        let mut recipe = match self.preset {
            Some(Preset::W1) | None => Workload::W1.recipe(),
            Some(Preset::W2) => Workload::W2.recipe(),
            Some(Preset::W3) => Workload::W3.recipe(),
            Some(Preset::Small) => Recipe {
                class_name: Cow::Borrowed("Small"),
                objects: 1_000_000,
                properties_bytes: 60,
                ..Workload::W2.recipe()
            },
            Some(Preset::Tenants) => Recipe::small_tenants(100_000),
        };
        if let Some(name) = &self.class_name {
            recipe.class_name = Cow::Owned(name.clone());
        }
        recipe.objects = self.objects.unwrap_or(recipe.objects);
        recipe.dimensions = self.dimensions.unwrap_or(recipe.dimensions);
        recipe.named = self.named.iter().chain(&self.multi).cloned().collect();
        recipe.properties_bytes = self.properties_bytes.unwrap_or(recipe.properties_bytes);
        recipe.updates_percent = self.updates_percent.unwrap_or(recipe.updates_percent);
        recipe.deletes_percent = self.deletes_percent.unwrap_or(recipe.deletes_percent);
        recipe.segments = self.segments.unwrap_or(recipe.segments);
        recipe.tenants = self.tenants.or(recipe.tenants);
        recipe.seed = self.seed.unwrap_or(recipe.seed);
        recipe.embeddings = match self.embeddings {
            None => recipe.embeddings,
            Some(Statistics::Normal) => Embeddings::Normal,
            Some(Statistics::Single) => Embeddings::Single,
            Some(Statistics::Half) => Embeddings::Half,
        };
        ensure!(recipe.tenants != Some(0), "a class with tenants needs one");
        Ok((0..self.classes)
            .map(|number| {
                let mut recipe = recipe.clone();
                if number > 0 {
                    recipe.class_name = Cow::Owned(format!("{}{}", recipe.class_name, number + 1));
                }
                recipe.seed += number;
                recipe
            })
            .collect())
    }
}

/// The class as a server is given it. Its vectors are stored and not indexed: the log that a server builds
/// an index from is empty.
fn class_definition(recipe: &Recipe) -> Value {
    let vectors = if recipe.named.is_empty() {
        json!({
            "vectorizer": "none",
            "vectorIndexType": "hnsw",
            "vectorIndexConfig": { "skip": true },
        })
    } else {
        let configs: serde_json::Map<String, Value> = recipe
            .named
            .iter()
            .map(|named| {
                let config = json!({
                    "vectorizer": { "none": {} },
                    "vectorIndexType": "hnsw",
                    "vectorIndexConfig": {
                        "skip": true,
                        "multivector": { "enabled": named.vectors.is_some() },
                    },
                });
                (named.name.clone(), config)
            })
            .collect();
        json!({ "vectorConfig": configs })
    };
    let mut class = json!({
        "class": recipe.class_name,
        "multiTenancyConfig": { "enabled": recipe.tenants.is_some() },
        "properties": properties(),
        "replicationConfig": { "factor": 1 },
    });
    if let (Some(class), Value::Object(vectors)) = (class.as_object_mut(), vectors) {
        class.extend(vectors);
    }
    class
}

/// The properties that objects have.
pub(crate) fn properties() -> Value {
    let text = |name: &str| json!({ "name": name, "dataType": ["text"] });
    json!([
        text("title"), text("author"), text("body"), text("source"),
        { "name": "tags", "dataType": ["text[]"] },
        { "name": "published", "dataType": ["date"] },
        { "name": "score", "dataType": ["number"] },
    ])
}

/// Makes the classes on a real server over `data`, and returns the names of the shards of each, the tenants in
/// the order of their numbers. The server has ended afterwards.
fn shards_of_server(
    data: &Path,
    recipes: &[Recipe],
    classes: &[Value],
) -> Result<Vec<Vec<String>>> {
    let server = Weaviate::start(data, &WeaviateSettings::new());
    let at = |path: &str| format!("http://127.0.0.1:{}/v1/{path}", server.rest_port());
    let mut shards = Vec::new();
    for (recipe, class) in recipes.iter().zip(classes) {
        ask("POST", &at("schema"), class)?;
        let name = &recipe.class_name;
        let Some(tenants) = recipe.tenants else {
            let answer = ask("GET", &at(&format!("schema/{name}/shards")), &Value::Null)?;
            let shard = answer.pointer("/0/name").and_then(Value::as_str);
            shards.push(vec![shard.context("the class has no shard")?.to_owned()]);
            continue;
        };
        let names: Vec<String> = (0..tenants).map(Recipe::tenant_name).collect();
        for some in names.chunks(TENANTS_A_REQUEST as usize) {
            let some: Vec<Value> = some.iter().map(|name| json!({ "name": name })).collect();
            ask("POST", &at(&format!("schema/{name}/tenants")), &some.into())?;
        }
        shards.push(names);
    }
    Ok(shards)
}

/// The objects bucket of a shard that the server made, without the empty logs that it left there.
fn of_server(shard: &Path, recipe: &Recipe) -> Result<ShardWriter> {
    let objects = shard.join("lsm/objects");
    fs::create_dir_all(&objects)?;
    for entry in fs::read_dir(&objects)? {
        let entry = entry?;
        ensure!(entry.metadata()?.len() == 0, "{} has content", entry.path().display());
        fs::remove_file(entry.path())?;
    }
    // Where the server goes on to number objects.
    let rows = recipe.objects + recipe.objects * recipe.deletes_percent / 100;
    fs::write(shard.join("indexcount"), Recipe::doc_id(rows, 0).to_le_bytes())?;
    Ok(ShardWriter::of_server(&objects))
}

/// The answer to a request, as JSON.
fn ask(method: &str, url: &str, body: &Value) -> Result<Value> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = match method {
        "GET" => agent.get(url).call()?,
        _ => agent.post(url).send_json(body)?,
    };
    let text = answer.body_mut().read_to_string()?;
    if !answer.status().is_success() {
        bail!("{method} {url}: {}: {text}", answer.status());
    }
    Ok(serde_json::from_str(&text)?)
}
