from jointrisk.store.migrating import run_environment
from store_sample.tables import Base

run_environment(Base.metadata)
