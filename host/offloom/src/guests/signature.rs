//! Signatures of guests: who signed a component, if the operator requires one.
use minisign_verify::{PublicKey, Signature};

/// The keys that guests may be signed with. Without any, signatures are not asked for.
#[derive(Clone, Default)]
pub struct TrustedKeys(Vec<PublicKey>);

/// Why a guest is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A key of the settings is none.
    #[error("public_keys has '{0}', which is no public key of minisign: its second line is meant")]
    Key(String),
    /// There is none.
    #[error(
        "this server takes signed guests alone: sign the file with minisign, and send the signature"
    )]
    Missing,
    /// It is not in minisign's form.
    #[error("the signature is not in minisign's form: {0}")]
    Form(String),
    /// No key of the settings made it for this component.
    #[error(
        "the signature was made by none of the keys that this server trusts, or for another file"
    )]
    Wrong,
}

impl TrustedKeys {
    /// The keys of the settings.
    ///
    /// # Errors
    /// [`SignatureError::Key`].
    pub fn new(keys: &[String]) -> Result<TrustedKeys, SignatureError> {
        let key = |text: &String| {
            PublicKey::from_base64(text.trim()).map_err(|_| SignatureError::Key(text.clone()))
        };
        keys.iter().map(key).collect::<Result<_, _>>().map(TrustedKeys)
    }

    /// Whether guests need a signature.
    pub fn are_required(&self) -> bool {
        !self.0.is_empty()
    }

    /// Checks the signature of a component: the text of a `.minisig` file.
    ///
    /// # Errors
    /// [`SignatureError`], if signatures are asked for.
    pub fn check(&self, component: &[u8], signature: Option<&str>) -> Result<(), SignatureError> {
        if !self.are_required() {
            return Ok(());
        }
        let signature = signature.ok_or(SignatureError::Missing)?;
        let signature = Signature::decode(signature)
            .map_err(|error| SignatureError::Form(error.to_string()))?;
        let made_by = |key: &PublicKey| key.verify(component, &signature, false).is_ok();
        if self.0.iter().any(made_by) { Ok(()) } else { Err(SignatureError::Wrong) }
    }
}
