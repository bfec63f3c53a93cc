"""What training sees: captures, what their windows are called and from what evidence, and which side each is on."""
