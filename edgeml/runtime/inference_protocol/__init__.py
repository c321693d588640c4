"""Messages of the Open Inference Protocol and of model repositories, as protobuf."""
