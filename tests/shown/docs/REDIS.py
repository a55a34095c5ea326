"""What docs/REDIS.md does not show."""

from redis.credentials import CredentialProvider

url = "redis://127.0.0.1:6379/0"
provider: CredentialProvider
