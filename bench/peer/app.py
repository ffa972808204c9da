"""The peer of the bench: fhirstarter 4.2 with a plain asyncpg store, as its documentation shows.

One table (id, subject, body), no sign-in, no audit, no search index but that of the subject: each
of these would only make it slower.
"""

import os
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
from fhir.resources.bundle import Bundle
from fhir.resources.observation import Observation
from fhirstarter import FHIRProvider, FHIRStarter, InteractionContext, examples
from fhirstarter.exceptions import FHIRResourceNotFoundError

provider = FHIRProvider()
pool: asyncpg.Pool | None = None


@asynccontextmanager
async def lifespan(_):
    global pool
    pool = await asyncpg.create_pool(os.environ["PEER_DATABASE_URL"], min_size=4, max_size=8)
    yield
    await pool.close()


@provider.read(Observation)
async def observation_read(context: InteractionContext, id_: str) -> Observation:
    body = await pool.fetchval("SELECT body FROM peer_observation WHERE id = $1", id_)
    if body is None:
        raise FHIRResourceNotFoundError
    return Observation.model_validate_json(body)


@provider.create(Observation)
async def observation_create(context: InteractionContext, resource: Observation) -> str:
    id_ = uuid4().hex
    resource.id = id_
    await pool.execute("INSERT INTO peer_observation (id, subject, body) VALUES ($1, $2, $3)",
                       id_, resource.subject.reference, resource.model_dump_json())
    return id_


@provider.search_type(Observation)
async def observation_search(context: InteractionContext, patient: str) -> Bundle:
    rows = await pool.fetch(
        "SELECT body FROM peer_observation WHERE subject = $1 ORDER BY id LIMIT 20",
        f"Patient/{patient}")
    return Bundle(type="searchset", entry=[
        {"resource": Observation.model_validate_json(row["body"])} for row in rows])


app = FHIRStarter(title="peer", lifespan=lifespan,
                  config_file=Path(examples.__file__).parent / "config.toml")
app.add_providers(provider)
