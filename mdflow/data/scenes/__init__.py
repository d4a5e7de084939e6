"""What the synthetic set is made of: textures, layers that move, a camera, shadows; frames and exact flow of them."""
