"""Finding a face: detection, landmarks, head pose, tracking, aligned crops, model weights."""
