"""From a source to shards: plan, write each shard as a task of its own, publish the index."""
