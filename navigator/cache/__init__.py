"""What is kept between runs, and the digests that it is kept under."""
