// An app as its maker would write it: the library's own authorize, nothing of ours.
FHIR.oauth2.authorize({
  clientId: "growth",
  scope: "openid fhirUser profile launch launch/patient online_access patient/*.rs user/Practitioner.rs",
  redirectUri: "index.html",
  pkceMode: "required",
});
