// What an app does after its launch; the test reads what it found from the page.
FHIR.oauth2
  .ready()
  .then(async (client) => {
    const told = { patient: client.patient.id, user: client.getFhirUser(), scope: client.state.tokenResponse.scope };
    told.idToken = client.getIdToken();
    told.read = await client.patient.read();
    const page = await client.request("Observation?patient=" + client.patient.id + "&_count=5");
    told.observations = (page.entry || []).map((each) => each.resource.subject.reference);
    told.practitioner = await client.request(client.getFhirUser());
    const before = client.state.tokenResponse.access_token;
    await client.refresh();
    told.isRefreshed = before !== client.state.tokenResponse.access_token;
    told.again = (await client.request("Patient/" + client.patient.id)).id;
    told.refused = await client.request("Organization?_count=1").then(
      () => "not refused",
      (fault) => String(fault.statusCode || fault.status || fault),
    );
    told.written = await client
      .update(told.read)
      .then(() => "not refused", (fault) => String(fault.statusCode || fault.status || fault));
    document.getElementById("told").textContent = JSON.stringify(told);
  })
  .catch((fault) => {
    document.getElementById("told").textContent = JSON.stringify({ fault: String(fault) });
  });
